#include "standard_program.h"

static const time_t moments[] = {0, 1, -1, 951782400, 1078012800, 1700000000, 1711846799, 1711846800, 1729990800, 4102444800, -2208988800, 67767976233532799, -67768040609740800, 253402300800, -62135596801, 67768036191676799};

static void show(const struct tm *tm) {
    if (!tm) { text("none"), number(errno); return; }
    bytes(tm, 36), number(tm->tm_gmtoff), text(tm->tm_zone);
}
static void utc(void) {
    for (int i = 0; i < 16; i++) {
        struct tm tm;
        errno = 0;
        show(gmtime_r(&moments[i], &tm));
        number(timegm(&tm));
    }
    errno = 0;
    show(gmtime(&(time_t){67768036191676800}));
}

static void zones(void) {
    const char *zones[] = {"", "UTC0", "CET-1CEST,M3.5.0,M10.5.0/3", "EST5EDT,M3.2.0,M11.1.0", "<+0545>-5:45", "AEST-10AEDT,M10.1.0,M4.1.0/3"};
    for (int z = 0; z < 6; z++) {
        setenv("TZ", zones[z], 1), tzset();
        text(tzname[0]), text(tzname[1]), number(timezone), number(daylight);
        for (int i = 0; i < 10; i++) {
            struct tm tm;
            show(localtime_r(&moments[i], &tm));
            number(mktime(&tm));
            text(ctime(&moments[i]));
        }
        for (int dst = -1; dst < 2; dst++) {
            struct tm tm = {.tm_year = 124, .tm_mon = 14, .tm_mday = 33, .tm_hour = 25, .tm_min = -5, .tm_sec = 61, .tm_isdst = dst};
            number(mktime(&tm)), show(&tm);
            struct tm twice = {.tm_year = 124, .tm_mon = 9, .tm_mday = 27, .tm_hour = 2, .tm_min = 30, .tm_isdst = dst};
            number(mktime(&twice)), show(&twice);
        }
    }
}

static void formats(void) {
    char line[300];
    const char *letters = "aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ%";
    setenv("TZ", "UTC0", 1), tzset();
    for (int i = 0; i < 10; i++) {
        struct tm tm;
        gmtime_r(&moments[i], &tm);
        for (const char *p = letters; *p; p++) {
            char format[] = {'<', '%', *p, '>', 0};
            number(strftime(line, sizeof line, format, &tm)), text(line);
        }
        strftime(line, sizeof line, "%-d %_d %05d %^a %#Z %10A %010Y %-j %_m %^B %#p %Ey %Od %+4Y", &tm), text(line);
        number(strftime(line, 5, "%Y-%m", &tm)), number(strftime(line, 8, "%Y-%m", &tm)), text(asctime(&tm));
    }
    wchar_t wide[50];
    struct tm tm;
    gmtime_r(&moments[5], &tm);
    number(wcsftime(wide, 50, L"%A %d", &tm)), bytes(wide, 44);
}

RUN(utc, zones, formats)
