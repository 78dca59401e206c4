/* Prints what the program was given; exits with the number that EXIT holds. */
#include <stdio.h>
#include <stdlib.h>

extern char **environ;

int main(int argc, char **argv) {
    for (int i = 0; i < argc; i++) printf("argument %d: %s\n", i, argv[i]);
    for (char **variable = environ; *variable; variable++) printf("variable: %s\n", *variable);
    fprintf(stderr, "to stderr\n");
    const char *status = getenv("EXIT");
    exit(status ? atoi(status) : 0);
}
