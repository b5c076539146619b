/* Where Kafka's Java clients, and librdkafka by `murmur2`, put a key.
 *
 * https://github.com/apache/kafka/blob/trunk/clients/src/main/java/org/apache/kafka/common/utils/Utils.java: murmur2
 */
#include <stdint.h>
#include <string.h>

static uint32_t murmur2(const uint8_t *key, int64_t size) {
  const uint32_t m = 0x5bd1e995u;
  uint32_t h = 0x9747b28cu ^ (uint32_t)size, k;
  for (; size >= 4; key += 4, size -= 4) {
    memcpy(&k, key, sizeof k);
    k *= m;
    k ^= k >> 24;
    h = h * m ^ k * m;
  }
  if (size > 2) h ^= (uint32_t)key[2] << 16;
  if (size > 1) h ^= (uint32_t)key[1] << 8;
  if (size > 0) h = (h ^ key[0]) * m;
  h = (h ^ h >> 13) * m;
  return h ^ h >> 15;
}

/* Which records stand in another partition than their key's, of `count`. `sizes` are negative where there is no key: such
 * a record stands wherever it happened to be put. */
void streamgauge_misplaced(const uint8_t *const *keys, const int64_t *sizes, const int64_t *partitions, int64_t n,
                           int32_t count, uint8_t *misplaced) {
  for (int64_t i = 0; i < n; i++)
    misplaced[i] = sizes[i] < 0 || (murmur2(keys[i], sizes[i]) & 0x7fffffff) % (uint32_t)count != (uint64_t)partitions[i];
}
