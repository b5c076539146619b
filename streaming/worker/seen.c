/* A set of 64-bit hashes, each with the generation it was last seen in: open addressing, linear probing.
 *
 * The number of slots is a power of two, and an empty one holds 0. What is more than `remembered` generations old is
 * forgotten, though it keeps its slot until the set is copied. A generation is kept modulo 256: those in the set must
 * never be that many apart.
 */
#include <stdint.h>

/* How many rows ahead slots are fetched: the set is larger than the processor's caches. */
enum { AHEAD = 12 };

static uint64_t kept_as(uint64_t hash) { return hash ? hash : 1; }

static uint64_t find(const uint64_t *slots, uint64_t mask, uint64_t hash) {
  uint64_t at = hash & mask;
  while (slots[at] && slots[at] != hash) at = (at + 1) & mask;
  return at;
}

/* Which of the hashes are remembered, row by row, putting in those that aren't. Each is as young as its last sighting: who
 * reads the remembered generations again from the log comes to the same. Returns how many slots that filled: there must be
 * room for all. */
int64_t streamgauge_seen(uint64_t *slots, uint8_t *generations, uint64_t mask, uint8_t generation, uint8_t remembered,
                         const uint64_t *hashes, int64_t n, uint8_t *duplicate) {
  int64_t filled = 0;
  for (int64_t i = 0; i < n; i++) {
    if (i + AHEAD < n) {
      uint64_t soon = kept_as(hashes[i + AHEAD]) & mask;
      __builtin_prefetch(&slots[soon]);
      __builtin_prefetch(&generations[soon]);
    }
    uint64_t hash = kept_as(hashes[i]), at = find(slots, mask, hash);
    duplicate[i] = slots[at] && (uint8_t)(generation - generations[at]) <= remembered;
    filled += !slots[at];
    slots[at] = hash;
    generations[at] = generation;
  }
  return filled;
}

/* Copies what is at most `remembered` generations older than `newest`. Returns how many those are. */
int64_t streamgauge_seen_copy(const uint64_t *slots, const uint8_t *generations, int64_t size, uint8_t newest,
                              uint8_t remembered, uint64_t *to_slots, uint8_t *to_generations, uint64_t to_mask) {
  int64_t copied = 0;
  for (int64_t i = 0; i < size; i++) {
    if (!slots[i] || (uint8_t)(newest - generations[i]) > remembered) continue;
    uint64_t at = find(to_slots, to_mask, slots[i]);
    to_slots[at] = slots[i];
    to_generations[at] = generations[i];
    copied++;
  }
  return copied;
}
