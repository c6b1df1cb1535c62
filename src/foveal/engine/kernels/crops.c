/* Taking, moving, flipping and shrinking the images of a batch, in one pass over their bytes. */

#include "panel.h"

typedef struct {
    long images, size, channels; /* of the batch; an image has size × size pixels before it is shrunk */
    long shrink;
    const uint8_t *pixels;                       /* (…, size, size, channels) */
    const int64_t *indices;                      /* (images): which image is taken */
    const int64_t *source_rows, *source_columns; /* (images, size): where each row and column comes from */
    uint8_t *output;                             /* (images, size / shrink, size / shrink, channels) */
    int threads;
} crops;

INLINE void gather_crop(const crops *b, long n)
{
    const long size = b->size, channels = b->channels, shrink = b->shrink;
    const long small = size / shrink, area = shrink * shrink;
    const uint8_t *image = b->pixels + b->indices[n] * size * size * channels;
    const int64_t *rows = b->source_rows + n * size, *columns = b->source_columns + n * size;
    uint8_t *to = b->output + n * small * small * channels;
    for (long i = 0; i < small; i++)
        for (long j = 0; j < small; j++)
            for (long c = 0; c < channels; c++) {
                long sum = 0;
                for (long k = 0; k < shrink; k++)
                    for (long l = 0; l < shrink; l++)
                        sum += image[(rows[i * shrink + k] * size + columns[j * shrink + l]) * channels + c];
                *to++ = (uint8_t)(shrink == 1 ? sum : (2 * sum + area) / (2 * area)); /* halves are rounded up */
            }
}

/* output[n][i][j] is the mean of shrink × shrink pixels of image indices[n], whose rows are
 * source_rows[n][i · shrink …] and whose columns are source_columns[n][j · shrink …]. */
void foveal_gather_crops(const crops *batch)
{
#pragma omp parallel for num_threads(batch->threads) schedule(static)
    for (long n = 0; n < batch->images; n++) gather_crop(batch, n);
}
