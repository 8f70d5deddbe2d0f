#include "cause.h"

#include <string.h>

static int is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* A path, a file, a host, a name of C++; "0.5" and the end of a sentence are none. */
static int is_internal(const char *word, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (word[i] == '/' || word[i] == '\\' || word[i] == '@' || (unsigned char)word[i] > 126) return 1;
        if (word[i] == ':' && i + 1 < n && word[i + 1] == ':') return 1;
        if (word[i] == '.' && i + 1 < n) {
            char next = word[i + 1], before = i ? word[i - 1] : '.';
            if (is_letter(next) || (is_letter(before) && next >= '0' && next <= '9')) return 1;
        }
        if (word[i] == '0' && i + 1 < n && (word[i + 1] == 'x' || word[i + 1] == 'X')) return 1;
    }
    return 0;
}

void mw_cause(const char *words, char *to, size_t size) {
    static const char STATUS[] = "Status Message:", NAME[] = "Name:";
    const char *message = strstr(words, STATUS);
    size_t n = 0;
    if (message) words = message + sizeof STATUS - 1; /* before it: which node has failed */
    while (*words) {
        while (*words && (unsigned char)*words <= ' ') words++;
        size_t length = 0;
        while ((unsigned char)words[length] > ' ') length++;
        if (!length) break;
        const char *word = words;
        words += length;
        if (is_internal(word, length) || strncmp(word, NAME, sizeof NAME - 1) == 0) continue;
        if (n + (n != 0) + length >= size) break;
        if (n) to[n++] = ' ';
        memcpy(to + n, word, length);
        n += length;
    }
    to[n] = 0;
}
