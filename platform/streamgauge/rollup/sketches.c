/* Values into Apache DataSketches' stored bytes, for as long as a sketch holds every value: an HLL its list of coupons, a
 * KLL its values, a frequent-items sketch its whole map. What is beyond that is left to the library.
 *
 * https://github.com/apache/datasketches-cpp: hll/include/CouponList-internal.hpp and HllSketchImpl-internal.hpp,
 * kll/include/kll_sketch_impl.hpp, fi/include/frequent_items_sketch_impl.hpp. Little-endian, as its machines are.
 *
 * Each function takes many sketches: of row i, `stored[i]` of `stored_sizes[i]` bytes (0 where there is none yet) and the
 * values at the places order[ends[i - 1]] to order[ends[i]]. It writes the new bytes one behind the other into `out`, where
 * there must be room for all, and says in `sizes` how many they are: none where nothing changes.
 *
 * KLLs are merged here too, for the library's merge draws lots and these numbers must be the same each time.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "views.h"

/* Instead of a size: only the library can do it. */
enum { BEYOND = -1 };

enum { EXACT_COUPONS = 384, COUPON_SLOTS = 1024, LIST_COUPONS = 8, HLL_LG_K = 12, HLL_FAMILY = 7 };
enum { LIST, SET };
enum { KLL_VALUES = 200, KLL_M = 8, KLL_FAMILY = 15 };
enum { FREQUENT_FAMILY = 10, FREQUENT_LG_LEAST = 3, FREQUENT_EMPTY = 5 };

static uint16_t u16_at(const uint8_t *at) {
  uint16_t v;
  memcpy(&v, at, sizeof v);
  return v;
}

static uint32_t u32_at(const uint8_t *at) {
  uint32_t v;
  memcpy(&v, at, sizeof v);
  return v;
}

static uint64_t u64_at(const uint8_t *at) {
  uint64_t v;
  memcpy(&v, at, sizeof v);
  return v;
}

static double double_at(const uint8_t *at) {
  double v;
  memcpy(&v, at, sizeof v);
  return v;
}

static uint8_t *put(uint8_t *to, const void *value, size_t size) {
  memcpy(to, value, size);
  return to + size;
}

static uint64_t rotated(uint64_t x, int by) { return x << by | x >> (64 - by); }

static uint64_t mixed(uint64_t h) {
  h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
  h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
  return h ^ h >> 33;
}

/* MurmurHash3_x64_128: https://github.com/aappleby/smhasher/wiki/MurmurHash3 */
static void hash_of(const uint8_t *bytes, int64_t size, uint64_t h[2]) {
  const uint64_t c1 = 0x87c37b91114253d5u, c2 = 0x4cf5ad432745937fu, seed = 9001;
  uint64_t h1 = seed, h2 = seed, k1, k2, tail[2] = {0, 0};
  int64_t left = size;
  for (; left >= 16; left -= 16, bytes += 16) {
    k1 = u64_at(bytes), k2 = u64_at(bytes + 8);
    h1 ^= rotated(k1 * c1, 31) * c2;
    h1 = (rotated(h1, 27) + h2) * 5 + 0x52dce729;
    h2 ^= rotated(k2 * c2, 33) * c1;
    h2 = (rotated(h2, 31) + h1) * 5 + 0x38495ab5;
  }
  memcpy(tail, bytes, (size_t)left);
  h2 ^= rotated(tail[1] * c2, 33) * c1;
  h1 ^= rotated(tail[0] * c1, 31) * c2;
  h1 ^= (uint64_t)size, h2 ^= (uint64_t)size;
  h1 += h2, h2 += h1;
  h1 = mixed(h1), h2 = mixed(h2);
  h[0] = h1 + h2, h[1] = h1 + h2 + h2;
}

/* What an HLL keeps of each text; 0, which no text has, for null and for the empty text, which it doesn't count. */
void streamgauge_coupons(const Texts *texts, int64_t n, uint32_t *coupons) {
  for (int64_t i = 0; i < n; i++) {
    uint64_t h[2];
    coupons[i] = 0;
    if (is_null(texts, i) || !texts->views[i].size) continue;
    hash_of(bytes_of(texts, i), texts->views[i].size, h);
    uint32_t zeros = h[1] ? (uint32_t)__builtin_clzll(h[1]) : 64;
    coupons[i] = ((zeros > 62 ? 62 : zeros) + 1) << 26 | (uint32_t)(h[0] & 0x3ffffff);
  }
}

/* The coupons of a stored sketch and where they begin, or BEYOND. */
static int64_t stored_coupons(const uint8_t *s, int64_t size, const uint8_t **first) {
  if (!size) return 0;
  if (size < 8 || s[2] != HLL_FAMILY || s[3] != HLL_LG_K || s[7] > SET) return BEYOND;
  int64_t at = s[7] == LIST ? 8 : 12;
  if (size < at) return BEYOND;
  int64_t count = s[7] == LIST ? s[6] : u32_at(s + 8);
  if (count > EXACT_COUPONS || size != at + 4 * count) return BEYOND;
  *first = s + at;
  return count;
}

static int insert(uint32_t *slots, uint32_t coupon) {
  uint32_t at = coupon % COUPON_SLOTS;
  while (slots[at] && slots[at] != coupon) at = (at + 1) % COUPON_SLOTS;
  if (slots[at]) return 0;
  slots[at] = coupon;
  return 1;
}

static int64_t add_coupons(const uint8_t *stored, int64_t size, const uint32_t *coupons, const uint32_t *order, int64_t n,
                           uint8_t *out) {
  const uint8_t *first = NULL;
  int64_t had = stored_coupons(stored, size, &first), count = had;
  if (had == BEYOND) return BEYOND;
  uint32_t slots[COUPON_SLOTS] = {0}, held[EXACT_COUPONS];
  for (int64_t i = 0; i < had; i++) {
    held[i] = u32_at(first + 4 * i);
    if (!held[i] || !insert(slots, held[i])) return BEYOND;
  }
  for (int64_t i = 0; i < n; i++) {
    uint32_t coupon = coupons[order[i]];
    if (!coupon || !insert(slots, coupon)) continue;
    if (count == EXACT_COUPONS) return BEYOND;
    held[count++] = coupon;
  }
  if (count == had) return 0;
  uint8_t lg = 5;
  while (4 * count > 3 * (1 << lg)) lg++;
  int set = count >= LIST_COUPONS;
  uint8_t head[8] = {set ? 3 : 2, 1, HLL_FAMILY, HLL_LG_K, set ? lg : 3, 8, set ? 0 : (uint8_t)count, set ? SET : LIST};
  uint32_t size_field = (uint32_t)count;
  uint8_t *to = put(out, head, sizeof head);
  if (set) to = put(to, &size_field, sizeof size_field);
  return put(to, held, (size_t)count * sizeof *held) - out;
}

void streamgauge_add_coupons(const uint8_t *const *stored, const int64_t *stored_sizes, const uint32_t *coupons,
                             const uint32_t *order, const int64_t *ends, int64_t n, uint8_t *out, int64_t *sizes) {
  for (int64_t i = 0, begin = 0; i < n; begin = ends[i++]) {
    sizes[i] = add_coupons(stored[i], stored_sizes[i], coupons, order + begin, ends[i] - begin, out);
    if (sizes[i] > 0) out += sizes[i];
  }
}

/* How many values a stored sketch has, and where they begin, or BEYOND. */
static int64_t stored_values(const uint8_t *s, int64_t size, const uint8_t **first) {
  if (!size) return 0;
  if (size < 8 || s[2] != KLL_FAMILY || u16_at(s + 4) != KLL_VALUES || s[6] != KLL_M) return BEYOND;
  if (s[0] == 2) {
    *first = s + 8;
    return s[1] == 1 && size == 8 ? 0 : s[1] == 2 && size == 16 ? 1 : BEYOND;
  }
  if (size < 40 || u64_at(s + 8) > KLL_VALUES || u16_at(s + 16) != KLL_VALUES || s[18] != 1) return BEYOND;
  int64_t count = (int64_t)u64_at(s + 8);
  *first = s + 40;
  return size == 40 + 8 * count && u32_at(s + 20) == KLL_VALUES - count ? count : BEYOND;
}

static int64_t add_values(const uint8_t *stored, int64_t size, const double *values, const uint32_t *order, int64_t n,
                          uint8_t *out) {
  const uint8_t *first = NULL;
  int64_t had = stored_values(stored, size, &first), count = had;
  if (had == BEYOND) return BEYOND;
  double held[KLL_VALUES], least, most;
  for (int64_t i = 0; i < had; i++) held[i] = double_at(first + 8 * i);
  for (int64_t i = 0; i < n; i++) {
    double value = values[order[i]];
    if (isnan(value)) continue;
    if (count == KLL_VALUES) return BEYOND;
    held[count++] = value;
  }
  if (count == had) return 0;
  least = most = held[0];
  for (int64_t i = 1; i < count; i++) {
    if (held[i] < least) least = held[i];
    if (held[i] > most) most = held[i];
  }
  int one = count == 1;
  uint8_t head[8] = {one ? 2 : 5, one ? 2 : 1, KLL_FAMILY, one ? 4 : 0, KLL_VALUES, 0, KLL_M, 0};
  uint8_t *to = put(out, head, sizeof head);
  if (!one) {
    uint64_t n_all = (uint64_t)count;
    uint8_t levels[4] = {KLL_VALUES, 0, 1, 0};
    uint32_t begin = (uint32_t)(KLL_VALUES - count);
    to = put(to, &n_all, sizeof n_all);
    to = put(to, levels, sizeof levels);
    to = put(to, &begin, sizeof begin);
    to = put(to, &least, sizeof least);
    to = put(to, &most, sizeof most);
  }
  return put(to, held, (size_t)count * sizeof *held) - out;
}

/* NaN stands for no value. */
void streamgauge_add_values(const uint8_t *const *stored, const int64_t *stored_sizes, const double *values,
                            const uint32_t *order, const int64_t *ends, int64_t n, uint8_t *out, int64_t *sizes) {
  for (int64_t i = 0, begin = 0; i < n; begin = ends[i++]) {
    sizes[i] = add_values(stored[i], stored_sizes[i], values, order + begin, ends[i] - begin, out);
    if (sizes[i] > 0) out += sizes[i];
  }
}

/* -0 before 0, so that there is one order only. */
static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x == y ? !!signbit(y) - !!signbit(x) : (x > y) - (x < y);
}

static void widen(double *least, double *most, double value) {
  if (by_value(&value, least) < 0) *least = value;
  if (by_value(&value, most) > 0) *most = value;
}

enum { KLL_LEVELS = 61 };

/* How many values a level holds before it is compacted, as the library has it: kll/include/kll_helper_impl.hpp. */
static int64_t level_capacity(int levels, int height) {
  int depth = levels - height - 1;
  uint64_t three = 1;
  if (depth > 30) return KLL_M;
  for (int i = 0; i < depth; i++) three *= 3;
  int64_t capacity = (int64_t)((((uint64_t)2 * KLL_VALUES << depth) / three + 1) >> 1);
  return capacity > KLL_M ? capacity : KLL_M;
}

/* A stored sketch's values, level by level. */
typedef struct {
  const uint8_t *values;
  uint64_t n;
  int levels;
  int64_t begins[KLL_LEVELS + 1];
} Stored;

/* 0, or BEYOND where it is no such sketch. */
static int64_t read_stored(const uint8_t *s, int64_t size, Stored *to) {
  const uint8_t *first;
  int64_t count = stored_values(s, size, &first);
  if (count != BEYOND) {
    *to = (Stored){first, (uint64_t)count, 1, {0, count}};
    return 0;
  }
  if (size < 40 || s[0] != 5 || s[2] != KLL_FAMILY || u16_at(s + 4) != KLL_VALUES || s[6] != KLL_M) return BEYOND;
  if (u16_at(s + 16) != KLL_VALUES || !s[18] || s[18] > KLL_LEVELS) return BEYOND;
  to->levels = s[18], to->n = u64_at(s + 8);
  int64_t head = 36 + 4 * to->levels, end = 0;
  if (size < head) return BEYOND;
  to->values = s + head;
  uint64_t n = 0;
  for (int i = 0; i < to->levels; i++) end += level_capacity(to->levels, i);
  uint32_t from = u32_at(s + 20);
  for (int i = 0; i < to->levels; i++) {
    int64_t next = i + 1 < to->levels ? u32_at(s + 24 + 4 * i) : end;
    to->begins[i] = u32_at(s + 20 + 4 * i) - (int64_t)from;
    if (next < to->begins[i] + from) return BEYOND;
    n += (uint64_t)(next - to->begins[i] - from) << i;
  }
  to->begins[to->levels] = end - from;
  return n == to->n && size == head + 8 * to->begins[to->levels] ? 0 : BEYOND;
}

/* All values of `n` stored sketches, and `more` others, in one sketch; what the library does by drawing lots, which half
 * of a full level goes up, follows from what is there. So the same values give the same bytes, in whatever order they
 * come. `parts` has room for n, `work` for all values twice, `out` for all values and a head. Returns the size: 0 where
 * there is no value, BEYOND where one of them is no such sketch.
 */
int64_t streamgauge_merge_values(const uint8_t *const *stored, const int64_t *sizes, int64_t n, const double *values,
                                 int64_t more, Stored *parts, double *work, uint8_t *out) {
  uint64_t total = 0;
  int64_t held = 0, target = 0, pops[KLL_LEVELS] = {0};
  int levels = 1;
  for (int64_t i = 0; i < n; i++) {
    if (read_stored(stored[i], sizes[i], &parts[i]) == BEYOND) return BEYOND;
    total += parts[i].n, held += parts[i].begins[parts[i].levels];
    if (parts[i].n && parts[i].levels > levels) levels = parts[i].levels;
  }
  double *kept = work, *rising = work + held + more, least = INFINITY, most = -INFINITY;
  int64_t kept_n = 0, risen = 0;
  for (int64_t i = 0; i < more; i++) {
    if (isnan(values[i])) continue;
    kept[pops[0]++] = values[i];
  }
  total += (uint64_t)pops[0], held += pops[0];
  if (!total) return 0;
  for (int64_t i = 0; i < pops[0]; i++) widen(&least, &most, kept[i]);
  for (int64_t i = 0; i < n; i++) {
    /* before its values stand the least and the greatest that it ever had; a single one is both */
    int64_t back = stored[i][0] == 5 ? 16 : 0;
    if (!parts[i].n) continue;
    widen(&least, &most, double_at(parts[i].values - back));
    widen(&least, &most, double_at(parts[i].values - back / 2));
  }
  for (int i = 0; i < levels; i++) target += level_capacity(levels, i);
  for (int level = 0; level < levels; level++) {
    double *mine = kept + kept_n;
    int64_t pop = level ? 0 : pops[0];
    for (int64_t i = 0; i < n; i++) {
      if (level >= parts[i].levels) continue;
      int64_t begin = parts[i].begins[level], count = parts[i].begins[level + 1] - begin;
      memcpy(mine + pop, parts[i].values + 8 * begin, 8 * (size_t)count);
      pop += count;
    }
    memcpy(mine + pop, rising, 8 * (size_t)risen);
    pop += risen, risen = 0;
    qsort(mine, (size_t)pop, sizeof *mine, by_value);
    if (held > target && pop >= level_capacity(levels, level)) {
      uint64_t lot = mixed(total ^ mixed((uint64_t)pop << 8 | (uint64_t)level));
      /* an odd one stays: the least or the greatest */
      int64_t odd = pop & 1, from = odd && !(lot & 2);
      double stays = odd ? mine[from ? 0 : pop - 1] : 0;
      for (int64_t i = from + (int64_t)(lot & 1); i < pop - (odd && !from); i += 2) rising[risen++] = mine[i];
      if (odd) mine[0] = stays;
      held -= pop / 2, pop = odd;
      if (level + 1 == levels && levels < KLL_LEVELS) target += level_capacity(++levels, 0);
    }
    pops[level] = pop, kept_n += pop;
  }
  int one = total == 1;
  uint8_t head[8] = {one ? 2 : 5, one ? 2 : 1, KLL_FAMILY, one ? 4 : 0, KLL_VALUES, 0, KLL_M, 0};
  uint8_t *to = put(out, head, sizeof head);
  if (!one) {
    uint8_t shape[4] = {KLL_VALUES, 0, (uint8_t)levels, 0};
    uint32_t at = (uint32_t)(target - kept_n);
    to = put(put(to, &total, sizeof total), shape, sizeof shape);
    for (int i = 0; i < levels; at += (uint32_t)pops[i++]) to = put(to, &at, sizeof at);
    to = put(put(to, &least, sizeof least), &most, sizeof most);
  }
  return put(to, kept, 8 * (size_t)kept_n) - out;
}

typedef struct {
  const uint8_t *key;
  uint64_t weight, hash;
  int64_t size;
} Item;

typedef struct {
  Item *items;
  uint32_t *slots;
  uint64_t mask;
  int64_t count;
} Items;

/* A slot holds an item's number, counted from 1. */
static void add_item(Items *all, const uint8_t *key, int64_t size, uint64_t weight) {
  uint64_t h[2];
  hash_of(key, size, h);
  uint64_t at = h[0] & all->mask;
  for (; all->slots[at]; at = (at + 1) & all->mask) {
    Item *item = &all->items[all->slots[at] - 1];
    if (item->hash == h[0] && item->size == size && !memcmp(item->key, key, (size_t)size)) {
      item->weight += weight;
      return;
    }
  }
  all->items[all->count++] = (Item){key, weight, h[0], size};
  all->slots[at] = (uint32_t)all->count;
}

/* How many keys a stored sketch has, or BEYOND. Puts them in. */
static int64_t add_stored(const uint8_t *s, int64_t size, Items *all, int64_t room) {
  if (size < 8 || s[2] != FREQUENT_FAMILY) return BEYOND;
  if (s[5] == FREQUENT_EMPTY) return size == 8 ? 0 : BEYOND;
  if (size < 32 || s[0] != 4 || s[1] != 1 || u64_at(s + 24)) return BEYOND;
  int64_t count = u32_at(s + 8);
  if (count > room || size < 32 + 8 * count) return BEYOND;
  const uint8_t *at = s + 32 + 8 * count, *end = s + size;
  for (int64_t i = 0; i < count; i++) {
    if (end - at < 4 || u32_at(at) > end - at - 4) return BEYOND;
    add_item(all, at + 4, u32_at(at), u64_at(s + 32 + 8 * i));
    at += 4 + u32_at(at);
  }
  return all->count == count && at == end ? count : BEYOND;
}

/* Smallest map of which `count` keys fill three quarters at most. */
static uint8_t lg_for(int64_t count) {
  uint8_t lg = FREQUENT_LG_LEAST;
  while (4 * count > 3 * ((int64_t)1 << lg)) lg++;
  return lg;
}

/* How often each key comes among n ordered places; puts the keys that come in `met`. Null is no key. */
static int64_t count_codes(const Texts *keys, const int32_t *codes, const uint32_t *order, int64_t n, uint32_t *counts,
                           int32_t *met) {
  int64_t different = 0;
  for (int64_t i = 0; i < n; i++) {
    int32_t code = codes[order[i]];
    if (is_null(keys, code)) continue;
    if (!counts[code]++) met[different++] = code;
  }
  return different;
}

static int64_t add_keys(const uint8_t *stored, int64_t size, const Texts *keys, const int32_t *met, int64_t come,
                        const uint32_t *counts, uint8_t lg_max, Item *items, int64_t room, uint32_t *slots, uint8_t *out) {
  int64_t most = come + (size >= 32 ? u32_at(stored + 8) : 0);
  uint64_t total = size >= 32 ? u64_at(stored + 16) : 0, width = 8;
  if (most > room) return BEYOND;
  while (width < 2 * (uint64_t)most) width *= 2;
  Items all = {items, slots, width - 1, 0};
  memset(slots, 0, width * sizeof *slots);
  if (size && add_stored(stored, size, &all, room) == BEYOND) return BEYOND;
  for (int64_t k = 0; k < come; k++) {
    add_item(&all, bytes_of(keys, met[k]), keys->views[met[k]].size, counts[met[k]]);
    total += counts[met[k]];
  }
  uint8_t lg = lg_for(all.count), lg_most = size ? stored[3] : lg_max;
  if (lg > lg_most) return BEYOND;
  uint8_t head[8] = {4, 1, FREQUENT_FAMILY, lg_most, lg, 0, 0, 0};
  uint32_t count_field[2] = {(uint32_t)all.count, 0};
  uint64_t sums[2] = {total, 0};
  uint8_t *to = put(put(put(out, head, sizeof head), count_field, sizeof count_field), sums, sizeof sums);
  for (int64_t k = 0; k < all.count; k++) to = put(to, &items[k].weight, sizeof items[k].weight);
  for (int64_t k = 0; k < all.count; k++) {
    uint32_t length = (uint32_t)items[k].size;
    to = put(put(to, &length, sizeof length), items[k].key, length);
  }
  return to - out;
}

/* `codes` are places among `keys`; `counts` are zeros, and `met` has room, for each of those. A sketch that is new may grow
 * to 2 ^ lg_max keys. There must be room for `room` items, those stored and those that come, and for four times as many
 * slots. */
void streamgauge_add_keys(const uint8_t *const *stored, const int64_t *stored_sizes, const Texts *keys,
                          const int32_t *codes, const uint32_t *order, const int64_t *ends, int64_t n, uint8_t lg_max,
                          uint32_t *counts, int32_t *met, Item *items, int64_t room, uint32_t *slots, uint8_t *out,
                          int64_t *sizes) {
  for (int64_t i = 0, begin = 0; i < n; begin = ends[i++]) {
    int64_t come = count_codes(keys, codes, order + begin, ends[i] - begin, counts, met);
    sizes[i] = come ? add_keys(stored[i], stored_sizes[i], keys, met, come, counts, lg_max, items, room, slots, out) : 0;
    for (int64_t k = 0; k < come; k++) counts[met[k]] = 0;
    if (sizes[i] > 0) out += sizes[i];
  }
}
