/* Texts, or bytes, as the elements of a Postgres array: each its size, in four bytes and the largest first, and itself;
 * -1 for null.
 *
 * https://github.com/postgres/postgres/blob/REL_15_STABLE/src/backend/utils/adt/arrayfuncs.c: array_recv
 */
#include <string.h>

#include "views.h"

static uint8_t *put_size(uint8_t *to, int32_t size) {
  for (int shift = 24; shift >= 0; shift -= 8) *to++ = (uint8_t)((uint32_t)size >> shift);
  return to;
}

/* How many bytes the elements take. */
int64_t streamgauge_pg_elements_size(const Texts *texts, int64_t n) {
  int64_t size = 4 * n;
  for (int64_t i = 0; i < n; i++)
    if (!is_null(texts, i)) size += texts->views[i].size;
  return size;
}

void streamgauge_pg_elements(const Texts *texts, int64_t n, uint8_t *out) {
  for (int64_t i = 0; i < n; i++) {
    int null = is_null(texts, i);
    int32_t size = null ? -1 : texts->views[i].size;
    out = put_size(out, size);
    if (null) continue;
    memcpy(out, bytes_of(texts, i), (size_t)size);
    out += size;
  }
}
