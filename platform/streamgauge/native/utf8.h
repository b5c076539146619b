/* https://www.unicode.org/versions/Unicode15.0.0/ch03.pdf, table 3-7 */
#ifndef STREAMGAUGE_UTF8_H
#define STREAMGAUGE_UTF8_H

#include <stdint.h>

static inline int is_utf8(const uint8_t *s, int64_t size) {
  const uint8_t *end = s + size;
  while (s < end) {
    uint8_t lead = *s++;
    if (lead < 0x80) continue;
    int more = lead >= 0xc2 && lead < 0xe0 ? 1 : lead >= 0xe0 && lead < 0xf0 ? 2 : lead >= 0xf0 && lead < 0xf5 ? 3 : 0;
    if (!more || end - s < more) return 0;
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (*s < low || *s > high) return 0;
    for (int i = 1; i < more; i++)
      if ((s[i] & 0xc0) != 0x80) return 0;
    s += more;
  }
  return 1;
}

#endif
