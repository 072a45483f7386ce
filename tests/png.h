/* For tests: writes a grey or coloured PNG, not compressed (RFC 2083, RFC 1950). */
#ifndef HONE_TEST_PNG_H
#define HONE_TEST_PNG_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void png_u32(uint8_t *to, uint32_t v)
{
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(v >> (24 - 8 * i));
}

static inline uint32_t png_crc(const uint8_t *data, size_t n)
{
    uint32_t crc = 0xFFFFFFFF;
    for (size_t i = 0; i < n; i++) {
        crc ^= data[i];
        for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
    }
    return ~crc;
}

static inline void png_chunk(FILE *file, const char *type, const uint8_t *data, size_t n)
{
    uint8_t *chunk = malloc(n + 12);
    png_u32(chunk, (uint32_t)n);
    memcpy(chunk + 4, type, 4);
    if (n) memcpy(chunk + 8, data, n);
    png_u32(chunk + 8 + n, png_crc(chunk + 4, n + 4));
    fwrite(chunk, 1, n + 12, file);
    free(chunk);
}

/* pixels [height][width][channels], channels 1 or 3; rows of all must fit into 65,535 bytes. */
static inline int png_write(const char *path, const uint8_t *pixels, uint32_t height, uint32_t width, uint32_t channels)
{
    FILE *file = fopen(path, "wb");
    if (!file) return -1;
    uint8_t header[13] = {0}, data[65536 + 16];
    png_u32(header, width);
    png_u32(header + 4, height);
    header[8] = 8, header[9] = channels == 3 ? 2 : 0;
    uint32_t row = width * channels + 1, n = row * height, a = 1, b = 0;
    memcpy(data, "\x78\x01\x01", 3);
    data[3] = (uint8_t)n, data[4] = (uint8_t)(n >> 8), data[5] = (uint8_t)~data[3], data[6] = (uint8_t)~data[4];
    for (uint32_t i = 0; i < height; i++) {
        data[7 + i * row] = 0;
        memcpy(data + 8 + i * row, pixels + i * (row - 1), row - 1);
    }
    for (uint32_t i = 0; i < n; i++) a = (a + data[7 + i]) % 65521, b = (b + a) % 65521;
    png_u32(data + 7 + n, b << 16 | a);
    fwrite("\x89PNG\r\n\x1A\n", 1, 8, file);
    png_chunk(file, "IHDR", header, 13);
    png_chunk(file, "IDAT", data, n + 11);
    png_chunk(file, "IEND", NULL, 0);
    return fclose(file);
}

#endif
