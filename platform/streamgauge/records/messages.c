/* Messages of librdkafka as columns. Its functions are given by their addresses: it comes with confluent-kafka, without
 * headers. The struct is part of its public interface.
 *
 * https://github.com/confluentinc/librdkafka/blob/master/src/rdkafka.h
 */
#include <stddef.h>
#include <stdint.h>

typedef struct {
  int err;
  void *topic;
  int32_t partition;
  void *payload;
  size_t len;
  void *key;
  size_t key_len;
  int64_t offset;
  void *private;
} Message;

/* `sizes` are negative where there is no value. */
void streamgauge_messages(const Message *const *messages, int64_t n, const void **payloads, int64_t *sizes,
                          int64_t *partitions, int64_t *offsets, int32_t *errors) {
  for (int64_t i = 0; i < n; i++) {
    const Message *m = messages[i];
    payloads[i] = m->payload;
    sizes[i] = m->payload ? (int64_t)m->len : -1;
    partitions[i] = m->partition;
    offsets[i] = m->offset;
    errors[i] = m->err;
  }
}

/* `sizes` are negative where there is no key. */
void streamgauge_keys(const Message *const *messages, int64_t n, const void **keys, int64_t *sizes) {
  for (int64_t i = 0; i < n; i++) {
    keys[i] = messages[i]->key;
    sizes[i] = messages[i]->key ? (int64_t)messages[i]->key_len : -1;
  }
}

/* When the broker appended them, in epoch ms. */
void streamgauge_timestamps(const Message *const *messages, int64_t n, int64_t (*timestamp)(const Message *, int *),
                            int64_t *times) {
  int kind;
  for (int64_t i = 0; i < n; i++) times[i] = timestamp(messages[i], &kind);
}

enum { SAMPLED_AT = 54 };

/* Whether the W3C trace context in a message's headers has the sampled flag: the last bit of its last hexadecimal digit
 * (https://www.w3.org/TR/trace-context/#traceparent-header-field-values). Headers are parsed here: that costs too much
 * to be done for every message of a full batch. */
void streamgauge_sampled(const Message *const *messages, int64_t n, int (*headers_of)(const Message *, void **),
                         int (*last)(const void *, const char *, const void **, size_t *), uint8_t *sampled) {
  for (int64_t i = 0; i < n; i++) {
    void *headers;
    const void *value;
    size_t size;
    sampled[i] = 0;
    if (headers_of(messages[i], &headers) || last(headers, "traceparent", &value, &size)) continue;
    if (!value || size <= SAMPLED_AT) continue;
    char digit = ((const char *)value)[SAMPLED_AT];
    /* in ASCII the digits 0 to 9 and the letters a to f: of a number that is odd, '1' is, and 'a' stands for 10 */
    sampled[i] = (uint8_t)(digit <= '9' ? digit & 1 : !(digit & 1));
  }
}

void streamgauge_destroy(Message *const *messages, int64_t n, void (*destroy)(Message *)) {
  for (int64_t i = 0; i < n; i++) destroy(messages[i]);
}
