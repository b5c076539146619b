/* Columns in Postgres's binary formats: as the elements of an array, or as the rows of a COPY. A value is its size, in four
 * bytes and the largest first, and itself; -1 for null.
 *
 * https://github.com/postgres/postgres/blob/REL_15_STABLE/src/backend/utils/adt/arrayfuncs.c: array_recv
 * https://www.postgresql.org/docs/15/sql-copy.html, "Binary Format"
 */
#include <string.h>

#include "views.h"

/* A column of texts or bytes, or, where `width` isn't 0, one of numbers of so many bytes, which `texts.views` points to. */
typedef struct {
  Texts texts;
  int64_t width;
} Field;

static uint8_t *put_big_endian(uint8_t *to, const uint8_t *number, int64_t width) {
  for (int64_t i = width; i-- > 0;) *to++ = number[i];
  return to;
}

static uint8_t *put_value(uint8_t *to, const Field *field, int64_t row) {
  const Texts *texts = &field->texts;
  int null = is_null(texts, row);
  int32_t size = null ? -1 : field->width ? (int32_t)field->width : texts->views[row].size;
  to = put_big_endian(to, (const uint8_t *)&size, sizeof size);
  if (null) return to;
  if (field->width) return put_big_endian(to, (const uint8_t *)texts->views + row * field->width, field->width);
  memcpy(to, bytes_of(texts, row), (size_t)size);
  return to + size;
}

/* How many bytes the values of a column take. */
int64_t streamgauge_pg_size(const Field *field, int64_t n) {
  int64_t size = 4 * n;
  for (int64_t i = 0; i < n; i++)
    if (!is_null(&field->texts, i)) size += field->width ? field->width : field->texts.views[i].size;
  return size;
}

void streamgauge_pg_elements(const Field *field, int64_t n, uint8_t *out) {
  for (int64_t i = 0; i < n; i++) out = put_value(out, field, i);
}

/* Each row begins with how many fields it has, in two bytes. */
void streamgauge_pg_rows(const Field *fields, int16_t count, int64_t n, uint8_t *out) {
  for (int64_t i = 0; i < n; i++) {
    out = put_big_endian(out, (const uint8_t *)&count, sizeof count);
    for (int16_t k = 0; k < count; k++) out = put_value(out, &fields[k], i);
  }
}
