/* Which records are one JSON object each, as far as brackets and strings go, and these side by side as one column.
 *
 * polars reads a column as one list: it puts commas between the texts. A record that closed more than it opened would
 * shift those behind it. What is within the brackets is left to polars, which is strict.
 */
#include <string.h>

#include "utf8.h"

/* Verdicts on a record. */
enum { OBJECT = 0, NO_VALUE = -1, NOT_UTF8 = -2, NOT_AN_OBJECT = -3 };

static int is_space(uint8_t c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static const uint8_t *skip_space(const uint8_t *at, const uint8_t *end) {
  while (at < end && is_space(*at)) at++;
  return at;
}

/* Behind the string's closing quote; `end` where there is none. */
static const uint8_t *skip_string(const uint8_t *at, const uint8_t *end) {
  while (at < end && *at != '"') at += *at == '\\' ? 2 : 1;
  return at < end ? at + 1 : end;
}

static int is_object(const uint8_t *at, const uint8_t *end) {
  at = skip_space(at, end);
  if (at == end || *at != '{') return 0;
  int64_t open = 0;
  do {
    uint8_t c = *at++;
    if (c == '"') at = skip_string(at, end);
    open += (c == '{' || c == '[') - (c == '}' || c == ']');
  } while (at < end && open > 0);
  return open == 0 && skip_space(at, end) == end;
}

/* `data` has room for all values, `ends` for one more than there are records. Returns how many are objects. */
int64_t streamgauge_json_objects(const uint8_t *const *addresses, const int64_t *sizes, const int64_t *rows, int64_t n,
                                 uint8_t *data, int64_t *ends, int32_t *verdicts) {
  int64_t good = 0, written = 0;
  ends[0] = 0;
  for (int64_t i = 0; i < n; i++) {
    const uint8_t *value = addresses[rows[i]];
    int64_t size = sizes[rows[i]];
    if (size < 0) {
      verdicts[i] = NO_VALUE;
    } else if (!is_object(value, value + size)) {
      verdicts[i] = NOT_AN_OBJECT;
    } else if (!is_utf8(value, size)) {
      verdicts[i] = NOT_UTF8;
    } else {
      memcpy(data + written, value, (size_t)size);
      written += size;
      ends[++good] = written;
      verdicts[i] = OBJECT;
    }
  }
  return good;
}
