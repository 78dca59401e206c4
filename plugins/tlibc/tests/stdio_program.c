/* Programs that use stdio.h's streams. */
#include "file_program.h"

static void say(const char *text) { bytes(text, strlen(text)); }
static void state(FILE *stream) {
    put(!!feof(stream));
    put(!!ferror(stream));
    put(ftell(stream));
}

static void modes(void) {
    static const char *texts[] = {"r",   "w",  "a",   "r+", "w+", "a+", "rb",         "wx",
                                  "w+x", "re", "rb+", "",   "q",  "+r", "r,ccs=UTF-8"};
    static const char *paths[] = {"f", "d", "absent", "link", "dangling", "loop", "d2/f2", ""};
    for (unsigned p = 0; p < sizeof paths / sizeof *paths; p++)
        for (unsigned m = 0; m < 14; m++) {
            if (m == 4 || m == 1 && p != 2) continue;
            FILE *stream = fopen(paths[p], texts[m]);
            put(stream ? 1 : -errno);
            if (!stream) continue;
            put(fcntl(fileno(stream), F_GETFL));
            put(fcntl(fileno(stream), F_GETFD));
            put(fclose(stream));
        }
    int in = open("f", O_RDONLY), both = open("f", O_RDWR);
    put(fdopen(in, "w") ? 1 : -errno);
    put(fdopen(in, "r+") ? 1 : -errno);
    put(fdopen(99, "r") ? 1 : -errno);
    put(fdopen(in, "z") ? 1 : -errno);
    FILE *end = fdopen(both, "a");
    put(end ? 1 : -errno);
    fputs("more", end);
    put(fclose(end));
    content("f");
}

static void reading(void) {
    char data[50];
    FILE *stream = fopen("f", "r");
    put(fread(data, 1, 4, stream));
    bytes(data, 4);
    state(stream);
    put(fgetc(stream));
    put(ungetc('X', stream));
    put(ftell(stream));
    put(fgetc(stream));
    put(getc(stream));
    put(fread(data, 3, 5, stream));
    state(stream);
    put(fgetc(stream));
    put(fread(data, 1, 5, stream));
    clearerr(stream);
    state(stream);
    put(fgetc(stream));
    put(fseek(stream, 2, SEEK_SET));
    state(stream);
    put(fgetc(stream));
    put(fseek(stream, 1, SEEK_CUR));
    put(fgetc(stream));
    put(fseek(stream, -1, SEEK_END));
    put(fgetc(stream));
    put(fseek(stream, -99, SEEK_SET));
    put(errno);
    put(fseek(stream, 0, 9));
    rewind(stream);
    put(ftell(stream));
    put(ungetc(EOF, stream));
    errno = 0;
    put(fputc('x', stream));
    put(errno);
    state(stream);
    put(fwrite("abc", 1, 3, stream));
    put(fclose(stream));
    content("f");
    stream = fopen("d", "r");
    errno = 0;
    put(stream ? fgetc(stream) : -errno);
    put(errno);
    put(stream ? ferror(stream) : 0);
    if (stream) fclose(stream);
    stream = fopen("f", "r");
    int descriptor = fileno(stream);
    fgetc(stream);
    put(lseek(descriptor, 0, SEEK_CUR));
    put(fflush(stream));
    put(lseek(descriptor, 0, SEEK_CUR));
    put(fgetc(stream));
    fclose(stream);
}

static void lines(void) {
    FILE *stream = fopen("lines", "w+");
    char data[20];
    char *line = 0;
    size_t room = 0;
    long size;
    fputs("first\nsecond line that is long\n\nlast without end", stream);
    rewind(stream);
    while (fgets(data, sizeof data, stream)) say(data);
    state(stream);
    put(fgets(data, 20, stream) ? 1 : 0);
    rewind(stream);
    put(fgets(data, 1, stream) ? 1 : 0);
    say(data);
    while ((size = getline(&line, &room, stream)) >= 0) {
        put(size);
        say(line);
    }
    state(stream);
    rewind(stream);
    size = getdelim(&line, &room, 'l', stream);
    put(size);
    say(line);
    put(getline(0, 0, stream));
    put(errno);
    free(line);
    fclose(stream);
}

static void writing(void) {
    FILE *stream = fopen("out", "w");
    char data[50];
    put(fputs("some text", stream) >= 0);
    put(ftell(stream));
    content("out");
    put(fflush(stream));
    content("out");
    put(fputc(300, stream));
    put(fwrite("0123456789", 3, 3, stream));
    put(fwrite("", 0, 5, stream));
    put(fseek(stream, 2, SEEK_SET));
    put(fputs("ME", stream) >= 0);
    put(ftell(stream));
    put(fclose(stream));
    content("out");
    stream = fopen("out", "r+");
    put(fgetc(stream));
    put(fgetc(stream));
    fseek(stream, 0, SEEK_CUR);
    fputs("XY", stream);
    put(ftell(stream));
    fseek(stream, 0, SEEK_CUR);
    put(fgetc(stream));
    put(fclose(stream));
    content("out");
    stream = fopen("out", "a+");
    put(ftell(stream) >= 0);
    put(fgetc(stream));
    fseek(stream, 0, SEEK_SET);
    fputs("END", stream);
    put(ftell(stream));
    fclose(stream);
    content("out");
    stream = fopen("out", "w");
    put(setvbuf(stream, 0, _IONBF, 0));
    fputs("now", stream);
    content("out");
    put(setvbuf(stream, 0, _IOLBF, 0));
    fputs("a\nb", stream);
    fclose(stream);
    content("out");
    stream = fopen("out", "w");
    setvbuf(stream, 0, _IOLBF, 0);
    fputs("line\nrest", stream);
    content("out");
    put(setvbuf(stream, 0, 7, 0));
    fclose(stream);
    stream = fopen("big", "w");
    for (int i = 0; i < 3000; i++) fputs("0123456789", stream);
    struct stat status;
    fstat(fileno(stream), &status);
    put(status.st_size > 20000);
    fclose(stream);
    stat("big", &status);
    put(status.st_size);
    stream = fopen("big", "r");
    long sum = 0, count = 0;
    int c;
    while ((c = getc(stream)) != EOF) sum += c, count++;
    put(sum);
    put(count);
    fclose(stream);
    int in = open("f", O_RDONLY);
    stream = fdopen(in, "r");
    close(in);
    errno = 0;
    put(fgetc(stream));
    put(errno);
    put(ferror(stream));
    put(fclose(stream));
    put(errno);
}

static void printing(void) {
    FILE *stream = fopen("printed", "w");
    char *made;
    char data[100];
    put(fprintf(stream, "%d %s %c|%5.2f|%-6x|%lld\n", -7, "text", 'c', 3.14159, 255, 1ll << 40));
    put(fprintf(stream, "%s", (char *)0));
    put(fprintf(stream, "%d%d%d%d%d%d%d%d\n", 1, 2, 3, 4, 5, 6, 7, 8));
    put(dprintf(fileno(stream), "first%d\n", 1));
    put(fclose(stream));
    content("printed");
    put(asprintf(&made, "%s-%d", "made", 5));
    say(made);
    free(made);
    put(sprintf(data, "%05d", 42));
    say(data);
    put(snprintf(data, 4, "%s", "longer"));
    say(data);
    put(dprintf(99, "x"));
    put(errno);
}

static void reopening(void) {
    FILE *stream = fopen("one", "w");
    int number = fileno(stream);
    fputs("1", stream);
    FILE *again = freopen("two", "w", stream);
    put(again == stream);
    put(fileno(again) == number);
    fputs("2", again);
    fclose(again);
    content("one");
    content("two");
    stream = fopen("one", "r");
    put(freopen("absent/x", "r", stream) ? 1 : -errno);
    int saved = dup(1), file = open("stdout", O_CREAT | O_RDWR, 0600);
    static char room[4096];
    setvbuf(stdout, room, _IOFBF, sizeof room);
    dup2(file, 1);
    printf("%s", "printed ");
    puts("put");
    putchar('!');
    fputs(" fputs", stdout);
    content("stdout");
    fflush(0);
    content("stdout");
    fprintf(stderr, "%s", "");
    dup2(saved, 1);
    put(fileno(stdin));
    put(fileno(stdout));
    put(fileno(stderr));
    saved = dup(2);
    file = open("stderr", O_CREAT | O_RDWR, 0600);
    dup2(file, 2);
    fputs("at once", stderr);
    content("stderr");
    errno = ENOENT;
    perror("why");
    content("stderr");
    dup2(saved, 2);
}

static void (*const programs[])(void) = {modes, reading, lines, writing, printing, reopening};
RUN(programs)
