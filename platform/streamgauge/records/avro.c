/* Avro records in Confluent's framing, many at a time, into Arrow columns.
 *
 * https://avro.apache.org/docs/1.12.0/specification/#binary-encoding
 * https://arrow.apache.org/docs/format/Columnar.html
 *
 * A record is taken whole or not at all: the next one goes over what a bad one had already written. Whoever calls brings
 * all memory, sees to it that the buffers fit the columns' kinds, and calls again with larger ones where they ran full.
 */
#include <string.h>

#include "utf8.h"
#include "views.h"

enum { HEADER_BYTES = 5, MOST_NESTED = 64 };

/* How many records ahead memory is fetched. */
enum { AHEAD = 4 };

/* Verdicts on a record: 0 is good, and a positive number counts the bytes behind the record. */
enum { GOOD = 0, ENDS_EARLY = -1, NOT_UTF8 = -2, NO_FIT = -3, MALFORMED = -4, FULL = -5 };

/* Instead of a schema id. */
enum { NO_VALUE = -1, NOT_FRAMED = -2 };

enum { NUL, BOOLEAN, INT, LONG, FLOAT, DOUBLE, STRING, BYTES, FIXED, ENUM, ARRAY, MAP, UNION, RECORD, PICKED };

/* A type of the writer's schema. `size` counts bytes of a fixed, symbols of an enum, branches, or fields;
 * `first` is where the types within it begin in the list of children. */
typedef struct {
  int32_t kind, size, first;
} Type;

/* A key of a map, and the column that takes its value. */
typedef struct {
  const char *key;
  int32_t size, target;
} Pick;

/* A column being filled. `validity` is a bitmap that begins as zeros. A map's `values` are n + 1 int64 offsets of its
 * entries, whose keys and texts are views; a boolean's a bitmap of zeros. A map of which only `picks` are wanted is
 * itself nothing but validity. `shortest` and `longest` bound the bytes of the texts that a text column was given, and
 * `nul` says whether one of them held a zero byte; those of bad records count too. */
typedef struct {
  int32_t kind, nulls;
  uint8_t *validity;
  void *values;
  uint8_t *data;
  int64_t data_size, data_capacity;
  View *keys, *texts;
  int64_t entries, entries_capacity;
  const Pick *picks;
  int32_t picks_size, shortest, longest, nul;
} Column;

typedef struct {
  const uint8_t *at, *end;
} Cursor;

typedef struct {
  const Type *types;
  const int32_t *children;
} Schema;

static int read_long(Cursor *c, int64_t *out) {
  uint64_t bits = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (c->at == c->end) return ENDS_EARLY;
    uint8_t byte = *c->at++;
    if (shift == 63 && byte > 1) return MALFORMED;
    bits |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) {
      *out = (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
      return GOOD;
    }
  }
  return MALFORMED;
}

static int read_bytes(Cursor *c, int64_t size, const uint8_t **out) {
  if (size < 0) return MALFORMED;
  if (size > c->end - c->at) return ENDS_EARLY;
  *out = c->at;
  c->at += size;
  return GOOD;
}

enum { HIGH_BIT = 1, ZERO_BYTE = 2 };

/* Whether any of eight bytes is beyond ASCII, and whether one is zero. */
static int kinds_of_word(uint64_t word) {
  const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
  return (word & highs ? HIGH_BIT : 0) | ((word - ones) & ~word & highs ? ZERO_BYTE : 0);
}

/* The same of a whole text: nearly all are short and ASCII, and need no closer look. What is behind a text's end is
 * filled with a byte of neither kind. */
static int kinds_of_bytes(const uint8_t *s, int64_t size) {
  int kinds = 0;
  uint64_t word;
  for (; size >= 8; s += 8, size -= 8) {
    memcpy(&word, s, 8);
    kinds |= kinds_of_word(word);
  }
  word = 0x2020202020202020u;
  if (size >= 4) {
    uint32_t first, last;
    memcpy(&first, s, 4);
    memcpy(&last, s + size - 4, 4);
    word = (uint64_t)first << 32 | last;
  } else if (size) {
    word = (word << 24) | (uint64_t)s[0] << 16 | (uint64_t)s[size / 2] << 8 | s[size - 1];
  }
  return kinds | kinds_of_word(word);
}

/* `zeros` says, if it is asked, whether the text holds a zero byte. */
static int read_string(Cursor *c, const uint8_t **text, int64_t *size, int32_t *zeros) {
  int verdict;
  if ((verdict = read_long(c, size)) || (verdict = read_bytes(c, *size, text))) return verdict;
  int kinds = kinds_of_bytes(*text, *size);
  if (zeros) *zeros |= kinds & ZERO_BYTE;
  return !(kinds & HIGH_BIT) || is_utf8(*text, *size) ? GOOD : NOT_UTF8;
}

static int read_boolean(Cursor *c, int *out) {
  if (c->at == c->end) return ENDS_EARLY;
  *out = *c->at++;
  return *out > 1 ? MALFORMED : GOOD;
}

/* The next block's items. No item is shorter than a byte but nulls and empty records, of which nobody sends arrays
 * longer than the rest of the record: a count like that is a lie that would keep us counting. */
static int read_block(Cursor *c, int64_t *count) {
  int64_t bytes;
  int verdict = read_long(c, count);
  if (verdict) return verdict;
  if (*count < 0) {
    if (*count == INT64_MIN) return MALFORMED;
    *count = -*count;
    if ((verdict = read_long(c, &bytes))) return verdict;
  }
  return *count > c->end - c->at ? ENDS_EARLY : GOOD;
}

static int read_branch(Cursor *c, const Type *type, int64_t *branch) {
  int verdict = read_long(c, branch);
  if (verdict) return verdict;
  return *branch < 0 || *branch >= type->size ? NO_FIT : GOOD;
}

/* Steps over a value, and checks it as if it were wanted. */
static int skip(const Schema *s, int32_t t, Cursor *c, int nested) {
  const Type *type = &s->types[t];
  const int32_t *within = &s->children[type->first];
  const uint8_t *bytes;
  int64_t n, size;
  int verdict, truth;
  if (nested > MOST_NESTED) return MALFORMED;
  switch (type->kind) {
    case NUL: return GOOD;
    case BOOLEAN: return read_boolean(c, &truth);
    case INT:
    case LONG: return read_long(c, &n);
    case FLOAT: return read_bytes(c, 4, &bytes);
    case DOUBLE: return read_bytes(c, 8, &bytes);
    case STRING: return read_string(c, &bytes, &n, NULL);
    case BYTES: return (verdict = read_long(c, &n)) ? verdict : read_bytes(c, n, &bytes);
    case FIXED: return read_bytes(c, type->size, &bytes);
    case ENUM: return read_branch(c, type, &n);
    case UNION: return (verdict = read_branch(c, type, &n)) ? verdict : skip(s, within[n], c, nested + 1);
    case RECORD:
      for (int32_t i = 0; i < type->size; i++)
        if ((verdict = skip(s, within[i], c, nested + 1))) return verdict;
      return GOOD;
    default:
      do {
        if ((verdict = read_block(c, &n))) return verdict;
        for (int64_t i = 0; i < n; i++) {
          if (type->kind == MAP && (verdict = read_string(c, &bytes, &size, NULL))) return verdict;
          if ((verdict = skip(s, within[0], c, nested + 1))) return verdict;
        }
      } while (n);
      return GOOD;
  }
}

static int read_view(Cursor *c, Column *column, View *view) {
  const uint8_t *text;
  int64_t size;
  int verdict = read_string(c, &text, &size, &column->nul);
  if (verdict) return verdict;
  view->size = (int32_t)size;
  if (size <= INLINE_BYTES) {
    memset(view->inlined, 0, INLINE_BYTES);
    memcpy(view->inlined, text, (size_t)size);
    return GOOD;
  }
  if (size > column->data_capacity - column->data_size) return FULL;
  memcpy(view->prefix, text, sizeof view->prefix);
  view->buffer = 0;
  view->offset = (int32_t)column->data_size;
  memcpy(column->data + column->data_size, text, (size_t)size);
  column->data_size += size;
  return GOOD;
}

static int read_text(Cursor *c, Column *column, int64_t row) {
  View *view = (View *)column->values + row;
  int verdict = read_view(c, column, view);
  if (verdict) return verdict;
  if (view->size < column->shortest) column->shortest = view->size;
  if (view->size > column->longest) column->longest = view->size;
  return GOOD;
}

static int read_map(Cursor *c, Column *column) {
  int64_t n;
  int verdict;
  do {
    if ((verdict = read_block(c, &n))) return verdict;
    if (n > column->entries_capacity - column->entries) return FULL;
    for (int64_t i = 0; i < n; i++, column->entries++) {
      if ((verdict = read_view(c, column, &column->keys[column->entries]))) return verdict;
      if ((verdict = read_view(c, column, &column->texts[column->entries]))) return verdict;
    }
  } while (n);
  return GOOD;
}

static int read_double(Cursor *c, int32_t written, double *out) {
  const uint8_t *bytes;
  float narrow;
  int64_t n = 0;
  int verdict;
  if (written == INT || written == LONG) {
    verdict = read_long(c, &n);
    *out = (double)n;
  } else if (written == FLOAT) {
    if (!(verdict = read_bytes(c, sizeof narrow, &bytes))) memcpy(&narrow, bytes, sizeof narrow), *out = narrow;
  } else if (!(verdict = read_bytes(c, sizeof *out, &bytes))) {
    memcpy(out, bytes, sizeof *out);
  }
  return verdict;
}

static void set_bit(uint8_t *bitmap, int64_t i) { bitmap[i >> 3] |= (uint8_t)(1u << (i & 7)); }
static void clear_bit(uint8_t *bitmap, int64_t i) { bitmap[i >> 3] &= (uint8_t)~(1u << (i & 7)); }

static int read_value(Cursor *c, int32_t written, Column *column, int64_t row) {
  int64_t n = 0;
  int verdict, truth;
  switch (column->kind) {
    case STRING: return read_text(c, column, row);
    case LONG: return read_long(c, (int64_t *)column->values + row);
    case INT:
      verdict = read_long(c, &n);
      ((int32_t *)column->values)[row] = (int32_t)n;
      return verdict ? verdict : n < INT32_MIN || n > INT32_MAX ? NO_FIT : GOOD;
    case DOUBLE: return read_double(c, written, (double *)column->values + row);
    case BOOLEAN:
      if ((verdict = read_boolean(c, &truth))) return verdict;
      (truth ? set_bit : clear_bit)(column->values, row);
      return GOOD;
    default: return read_map(c, column);
  }
}

static void put_null(Column *column, int64_t row) {
  clear_bit(column->validity, row);
  switch (column->kind) {
    case STRING: memset((View *)column->values + row, 0, sizeof(View)); break;
    case LONG:
    case DOUBLE: ((int64_t *)column->values)[row] = 0; break;
    case INT: ((int32_t *)column->values)[row] = 0; break;
    case BOOLEAN: clear_bit(column->values, row); break;
    default: break;
  }
}

/* Of a key that comes twice the last value counts, as in any reader that makes a map of it. */
static int read_picked(Cursor *c, const Column *map, Column *columns, int64_t row) {
  const uint8_t *text;
  int64_t n, size;
  int verdict;
  do {
    if ((verdict = read_block(c, &n))) return verdict;
    for (int64_t i = 0; i < n; i++) {
      const Pick *pick = map->picks, *end = map->picks + map->picks_size;
      if ((verdict = read_string(c, &text, &size, NULL))) return verdict;
      while (pick < end && (pick->size != size || memcmp(pick->key, text, (size_t)size))) pick++;
      if (pick == end) {
        if ((verdict = read_string(c, &text, &size, NULL))) return verdict;
        continue;
      }
      Column *to = &columns[pick->target];
      if ((verdict = read_text(c, to, row))) return verdict;
      set_bit(to->validity, row);
    }
  } while (n);
  return GOOD;
}

static int read_field(const Schema *s, int32_t t, Cursor *c, Column *columns, int32_t target, int64_t row) {
  Column *column = &columns[target];
  int64_t branch;
  for (int32_t i = 0; i < column->picks_size; i++) put_null(&columns[column->picks[i].target], row);
  while (s->types[t].kind == UNION) {
    int verdict = read_branch(c, &s->types[t], &branch);
    if (verdict) return verdict;
    t = s->children[s->types[t].first + branch];
  }
  int verdict = GOOD;
  if (s->types[t].kind == NUL) {
    put_null(column, row);
  } else {
    set_bit(column->validity, row);
    verdict = column->kind == PICKED ? read_picked(c, column, columns, row)
                                     : read_value(c, s->types[t].kind, column, row);
  }
  if (column->kind == MAP) ((int64_t *)column->values)[row + 1] = column->entries;
  return verdict;
}

static int read_record(const Schema *s, const Type *record, const int32_t *targets, Cursor *c, Column *columns,
                       int64_t row) {
  for (int32_t i = 0; i < record->size; i++) {
    int32_t t = s->children[record->first + i];
    int verdict = targets[i] < 0 ? skip(s, t, c, 0) : read_field(s, t, c, columns, targets[i], row);
    if (verdict) return verdict;
  }
  return c->end - c->at > INT32_MAX ? INT32_MAX : (int)(c->end - c->at);
}

/* Each record's schema id. `sizes` are negative where there is no value. */
void streamgauge_schema_ids(const uint8_t *const *records, const int64_t *sizes, int64_t n, int64_t *ids) {
  for (int64_t i = 0; i < n; i++) {
    const uint8_t *r = records[i];
    if (sizes[i] <= 0)
      ids[i] = NO_VALUE;
    else if (sizes[i] < HEADER_BYTES || r[0] != 0)
      ids[i] = NOT_FRAMED;
    else
      ids[i] = (int64_t)r[1] << 24 | (int64_t)r[2] << 16 | (int64_t)r[3] << 8 | r[4];
  }
}

/* What a bad record left behind: the next one goes over it, but for a map's entries, which follow each other. */
static void take_back(Column *columns, int32_t width, int64_t row) {
  for (int32_t k = 0; k < width; k++)
    if (columns[k].kind == MAP) columns[k].entries = ((int64_t *)columns[k].values)[row];
}

static void count_nulls(Column *column, int64_t rows) {
  column->nulls = (int32_t)rows;
  for (int64_t i = 0; i < rows / 8; i++) column->nulls -= __builtin_popcount(column->validity[i]);
  for (int64_t i = rows / 8 * 8; i < rows; i++) column->nulls -= column->validity[i >> 3] >> (i & 7) & 1;
}

/* Reads the records `rows`, all framed, which type 0 wrote; its field i goes into the column targets[i], or nowhere
 * if that is negative. `verdicts` has one for each of `rows`. Returns how many were good, and `kept` says which;
 * or FULL, where the buffers of a column did not suffice. */
int64_t streamgauge_decode(const uint8_t *const *records, const int64_t *sizes, const int64_t *rows, int64_t n,
                           const Type *types, const int32_t *children, const int32_t *targets, Column *columns,
                           int32_t width, uint32_t *kept, int32_t *verdicts) {
  const Schema schema = {types, children};
  int64_t good = 0;
  for (int64_t i = 0; i < n; i++) {
    const uint8_t *record = records[rows[i]];
    if (i + AHEAD < n) __builtin_prefetch(records[rows[i + AHEAD]]);
    Cursor cursor = {record + HEADER_BYTES, record + sizes[rows[i]]};
    verdicts[i] = read_record(&schema, &types[0], targets, &cursor, columns, good);
    if (verdicts[i] == FULL) return FULL;
    if (verdicts[i] == GOOD)
      kept[good++] = (uint32_t)rows[i];
    else
      take_back(columns, width, good);
  }
  for (int32_t k = 0; k < width; k++) count_nulls(&columns[k], good);
  return good;
}
