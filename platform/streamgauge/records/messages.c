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

void streamgauge_destroy(Message *const *messages, int64_t n, void (*destroy)(Message *)) {
  for (int64_t i = 0; i < n; i++) destroy(messages[i]);
}
