/* Matrix products over panels.
 *
 * The algorithm: a block of ROWS × COLUMNS sums stays in registers while the sum runs along both factors, so that each
 * number loaded is used several times.
 */

#pragma once

#include "panel.h"

/* Rows that a block has, and columns in panels: as many sums as registers can hold. */
#if defined(__AVX512F__)
#define ROWS 8
#define COLUMNS 2
#else
#define ROWS 4
#define COLUMNS 1
#endif

/* Where a factor begins, and how many floats lie between its rows (columns) and between two terms of the sum. */
typedef struct {
    const float *begin;
    long row, term;
} left_factor;

typedef struct {
    const float *begin;
    long column; /* terms are one panel apart */
} right_factor;

/* sum[i][j] += Σ_k a[i][k] · b[k][j] for `depth` terms k; i < rows, j < columns. */
INLINE void multiply_block(long depth, left_factor a, right_factor b, panel sum[ROWS][COLUMNS], const int rows,
                           const int columns)
{
    for (long k = 0; k < depth; k++) {
        panel right[COLUMNS];
        for (int j = 0; j < columns; j++) right[j] = load(b.begin + k * LANES + j * b.column);
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++) sum[i][j] += a.begin[k * a.term + i * a.row] * right[j];
    }
}

/* The factors and the result of `multiply` and `multiply_transposed`. */
typedef struct {
    long tiles, p;
    const float *a, *b;
    float *c;
} product;

INLINE void multiply_rows(const product *m, long tile, long column, const int rows, const int columns)
{
    panel sum[ROWS][COLUMNS] = {{{0}}};
    for (long k = 0; k < m->p; k++) {
        left_factor a = {m->a + (k * m->tiles + tile) * LANES, LANES, 1};
        right_factor b = {m->b + (column * m->p + k) * LANES * LANES, m->p * LANES * LANES};
        multiply_block(LANES, a, b, sum, rows, columns);
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) store(m->c + ((column + j) * m->tiles + tile + i) * LANES, sum[i][j]);
}

/* c[tile] = Σ_channel a[tile][channel] · b[channel], all in panels: a (p, tiles, 16), b (q, 16·p, 16),
 * c (q, tiles, 16). */
static void multiply(long tiles, long p, long q, const float *a, const float *b, float *c)
{
    const product m = {tiles, p, a, b, c};
    long column = 0;
    for (; column + COLUMNS <= q; column += COLUMNS) {
        long tile = 0;
        for (; tile + ROWS <= tiles; tile += ROWS) multiply_rows(&m, tile, column, ROWS, COLUMNS);
        for (; tile < tiles; tile++) multiply_rows(&m, tile, column, 1, COLUMNS);
    }
    for (; column < q; column++) {
        long tile = 0;
        for (; tile + ROWS <= tiles; tile += ROWS) multiply_rows(&m, tile, column, ROWS, 1);
        for (; tile < tiles; tile++) multiply_rows(&m, tile, column, 1, 1);
    }
}

/* The rows of c for ROWS channels of a, beginning with channel `lane` of its panel k. */
INLINE void add_transposed_rows(const product *m, long k, int lane, long column, const int columns)
{
    panel sum[ROWS][COLUMNS];
    float *c = m->c + ((column * m->p + k) * LANES + lane) * LANES;
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < columns; j++) sum[i][j] = load(c + (j * m->p * LANES + i) * LANES);
    left_factor a = {m->a + k * m->tiles * LANES + lane, 1, LANES};
    right_factor b = {m->b + column * m->tiles * LANES, m->tiles * LANES};
    multiply_block(m->tiles, a, b, sum, ROWS, columns);
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < columns; j++) store(c + (j * m->p * LANES + i) * LANES, sum[i][j]);
}

/* c[channel] += Σ_tile a[tile][channel] · b[tile]: a (p, tiles, 16), b (q, tiles, 16), c (q, 16·p, 16). */
static void multiply_transposed(long tiles, long p, long q, const float *a, const float *b, float *c)
{
    const product m = {tiles, p, a, b, c};
    for (long column = 0; column < q;) {
        int columns = q - column >= COLUMNS ? COLUMNS : 1;
        for (long k = 0; k < p; k++)
            for (int lane = 0; lane < LANES; lane += ROWS)
                if (columns == COLUMNS) add_transposed_rows(&m, k, lane, column, COLUMNS);
                else add_transposed_rows(&m, k, lane, column, 1);
        column += columns;
    }
}
