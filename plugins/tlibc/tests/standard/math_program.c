#include "standard_program.h"
#include <fenv.h>

static const double values[] = {0.0, -0.0, 0.5, -0.5, 1, -1, 1.5, 2.5, -2.5, 3.75, 10, 100.25, 709, 710, -745, -746, 1e-300, 1e300, 5e-324, 1e16, INFINITY, -INFINITY, NAN, M_PI, 4503599627370497.5};
#define COUNT (int)(sizeof values / sizeof *values)
#define EACH(f) for (int i = 0; i < COUNT; i++) real(f(values[i]));

static void one(void) {
    EACH(sqrt) EACH(sin) EACH(cos) EACH(tan) EACH(asin) EACH(acos) EACH(atan) EACH(sinh) EACH(cosh) EACH(tanh)
    EACH(asinh) EACH(acosh) EACH(atanh) EACH(exp) EACH(expm1) EACH(log) EACH(log10) EACH(log2) EACH(log1p)
    EACH(cbrt) EACH(fabs) EACH(erf) EACH(erfc) EACH(round) EACH(logb) EACH(exp2)
    for (int i = 0; i < COUNT; i++) real(sqrtf(values[i])), real(roundf(values[i])), real(fabsf(values[i]));
    for (int i = 0; i < COUNT; i++) if (fabs(values[i]) < 1e9) number(lround(values[i])), number(lrint(values[i]));
    for (int i = 0; i < COUNT; i++) number(ilogb(values[i]) == FP_ILOGBNAN ? -1 : ilogb(values[i]));
}
static void two(void) {
    for (int i = 0; i < COUNT; i++)
        for (int j = 0; j < COUNT; j++) {
            double x = values[i], y = values[j];
            real(atan2(x, y)), real(hypot(x, y)), real(copysign(x, y)), real(nextafter(x, y)), real(remainder(x, y)), real(fmod(x, y));
            if (x != y) real(fmin(x, y)), real(fmax(x, y));
            real(fdim(x, y));
        }
}
static void parts(void) {
    for (int i = 0; i < COUNT; i++) {
        int exponent = 0;
        double whole, sine, cosine;
        real(frexp(values[i], &exponent));
        if (isfinite(values[i])) number(exponent);
        real(modf(values[i], &whole)), real(whole), real(ldexp(values[i], 3)), real(scalbn(values[i], -1080));
        sincos(values[i], &sine, &cosine), real(sine), real(cosine);
    }
    long double wide[] = {0, -0.0L, 1, 1.5L, -3.25L, 1e4000L, 1e-4940L, 3.6e-4951L, INFINITY};
    for (int i = 0; i < 9; i++) {
        int exponent = 0;
        long double part = frexpl(wide[i], &exponent);
        bytes(&part, 10);
        if (i < 8) number(exponent);
    }
}
static void environment(void) {
    volatile double one = 1, three = 3;
    int modes[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
    for (int i = 0; i < 4; i++) number(fesetround(modes[i])), number(fegetround()), real(one / three), real(-one / three);
    number(fesetround(FE_TONEAREST)), number(fesetround(77));
}
/* What has been raised: not on the emulated machine, whose SSE unit does not tell. */
static void exceptions(void) {
    volatile double one = 1, three = 3;
    feclearexcept(FE_ALL_EXCEPT), number(fetestexcept(FE_ALL_EXCEPT));
    one = one / (three - 3), number(fetestexcept(FE_ALL_EXCEPT)), feclearexcept(FE_DIVBYZERO), number(fetestexcept(FE_ALL_EXCEPT));
}
static void randomness(void) {
    for (int i = 0; i < 50; i++) number(rand());
    unsigned seeds[] = {0, 1, 42, 0x80000001u, 0xffffffffu};
    for (int s = 0; s < 5; s++) {
        srandom(seeds[s]);
        for (int i = 0; i < 10; i++) number(random());
        unsigned own = seeds[s];
        for (int i = 0; i < 5; i++) number(rand_r(&own));
        srand48(seeds[s]);
        for (int i = 0; i < 5; i++) real(drand48()), number(lrand48()), number(mrand48());
    }
}

RUN(one, two, parts, environment, exceptions, randomness)
