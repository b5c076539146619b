/* Columns as numbers of their values, and rows put in the order of their groups.
 *
 * A value's code is its place among the distinct values, in the order in which they first come. `firsts` has the row of
 * each. Whoever calls brings a table of `mask` + 1 slots, a power of two that is more than there are rows; an empty slot
 * holds 0, another a code counted from 1.
 */
#include <math.h>
#include <string.h>

#include "views.h"

/* https://github.com/wangyi-fudan/wyhash: its constants, and its way of mixing by one multiplication. */
static const uint64_t SECRET[2] = {0xa0761d6478bd642fu, 0xe7037ed1a0b428dbu};

static uint64_t mixed(uint64_t a, uint64_t b) {
  __uint128_t product = (__uint128_t)(a ^ SECRET[0]) * (b ^ SECRET[1]);
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t word_at(const void *bytes) {
  uint64_t word;
  memcpy(&word, bytes, sizeof word);
  return word;
}

/* A view that holds its text is hashed as it stands, with its size. */
static uint64_t hash_of_text(const Texts *texts, int64_t row) {
  const View *view = &texts->views[row];
  if (view->size <= INLINE_BYTES) return mixed(word_at(view), word_at((const uint8_t *)view + 8));
  const uint8_t *bytes = bytes_of(texts, row), *last = bytes + view->size - 8;
  uint64_t hash = (uint64_t)view->size;
  for (; bytes < last; bytes += 8) hash = mixed(hash, word_at(bytes));
  return mixed(hash, word_at(last));
}

static int same_text(const Texts *a, int64_t row, const Texts *b, int64_t other) {
  const View *one = &a->views[row], *two = &b->views[other];
  if (one->size != two->size) return 0;
  if (one->size <= INLINE_BYTES) return !memcmp(one, two, sizeof *one);
  return !memcmp(bytes_of(a, row), bytes_of(b, other), (size_t)one->size);
}

/* Null is a value too, without a slot. Returns how many values there are. */
int64_t streamgauge_text_codes(const Texts *texts, int64_t n, uint32_t *slots, uint64_t mask, int32_t *codes,
                               uint32_t *firsts) {
  int64_t count = 0;
  int32_t null_code = -1;
  for (int64_t i = 0; i < n; i++) {
    if (is_null(texts, i)) {
      if (null_code < 0) {
        null_code = (int32_t)count;
        firsts[count++] = (uint32_t)i;
      }
      codes[i] = null_code;
      continue;
    }
    uint64_t at = hash_of_text(texts, i) & mask;
    while (slots[at] && !same_text(texts, firsts[slots[at] - 1], texts, i)) at = (at + 1) & mask;
    if (!slots[at]) {
      firsts[count++] = (uint32_t)i;
      slots[at] = (uint32_t)count;
    }
    codes[i] = (int32_t)slots[at] - 1;
  }
  return count;
}

/* The row of each of `asked` among the `known` texts, which are distinct and whose codes made the table; `missing` where
 * there is none. */
void streamgauge_find_texts(const Texts *known, const uint32_t *slots, uint64_t mask, const Texts *asked, int64_t n,
                            int32_t missing, int32_t *rows) {
  for (int64_t i = 0; i < n; i++) {
    rows[i] = missing;
    if (is_null(asked, i)) continue;
    uint64_t at = hash_of_text(asked, i) & mask;
    while (slots[at] && !same_text(known, slots[at] - 1, asked, i)) at = (at + 1) & mask;
    if (slots[at]) rows[i] = (int32_t)slots[at] - 1;
  }
}

int64_t streamgauge_number_codes(const int64_t *numbers, int64_t n, uint32_t *slots, uint64_t mask, int32_t *codes,
                                 uint32_t *firsts) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; i++) {
    if (i && numbers[i] == numbers[i - 1]) {
      codes[i] = codes[i - 1];
      continue;
    }
    uint64_t at = mixed((uint64_t)numbers[i], 0) & mask;
    while (slots[at] && numbers[firsts[slots[at] - 1]] != numbers[i]) at = (at + 1) & mask;
    if (!slots[at]) {
      firsts[count++] = (uint32_t)i;
      slots[at] = (uint32_t)count;
    }
    codes[i] = (int32_t)slots[at] - 1;
  }
  return count;
}

/* The rows of which `wanted` is `this`, group by group and else as they come: those of group g end at order[ends[g]]. */
void streamgauge_order(const int32_t *groups, const uint8_t *wanted, uint8_t this, int64_t n, int64_t count, int64_t *ends,
                       uint32_t *order) {
  int64_t before = 0;
  memset(ends, 0, (size_t)count * sizeof *ends);
  for (int64_t i = 0; i < n; i++)
    if (wanted[i] == this) ends[groups[i]]++;
  for (int64_t g = 0; g < count; g++) {
    int64_t size = ends[g];
    ends[g] = before;
    before += size;
  }
  for (int64_t i = 0; i < n; i++)
    if (wanted[i] == this) order[ends[groups[i]]++] = (uint32_t)i;
}

/* Of each group of ordered rows: how many values there are, their sum, least and most. NaN stands for no value. */
void streamgauge_measure(const double *values, const uint32_t *order, const int64_t *ends, int64_t count, int64_t *sizes,
                         double *sums, double *least, double *most) {
  for (int64_t g = 0, k = 0; g < count; g++) {
    int64_t size = 0;
    double sum = 0, low = NAN, high = NAN;
    for (; k < ends[g]; k++) {
      double value = values[order[k]];
      if (isnan(value)) continue;
      sum += value;
      if (!size || value < low) low = value;
      if (!size || value > high) high = value;
      size++;
    }
    sizes[g] = size, sums[g] = sum, least[g] = low, most[g] = high;
  }
}
