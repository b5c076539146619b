/* Texts as Arrow's views, which is how polars keeps them.
 *
 * https://arrow.apache.org/docs/format/Columnar.html#variable-size-binary-view-layout
 */
#ifndef STREAMGAUGE_VIEWS_H
#define STREAMGAUGE_VIEWS_H

#include <stdint.h>

enum { INLINE_BYTES = 12 };

typedef struct {
  int32_t size;
  union {
    uint8_t inlined[INLINE_BYTES];
    struct {
      uint8_t prefix[4];
      int32_t buffer, offset;
    };
  };
} View;
_Static_assert(sizeof(View) == 16, "Arrow's views take 16 bytes");

/* A text column. `validity` is a bitmap, or NULL where no text is null; row 0's bit in it is `first_bit`. */
typedef struct {
  const View *views;
  const uint8_t *const *buffers;
  const uint8_t *validity;
  int64_t first_bit;
} Texts;

static inline int is_null(const Texts *texts, int64_t row) {
  int64_t bit = texts->first_bit + row;
  return texts->validity && !(texts->validity[bit >> 3] >> (bit & 7) & 1);
}

static inline const uint8_t *bytes_of(const Texts *texts, int64_t row) {
  const View *view = &texts->views[row];
  return view->size <= INLINE_BYTES ? view->inlined : texts->buffers[view->buffer] + view->offset;
}

#endif
