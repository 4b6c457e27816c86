/* base/poison.h - tells AddressSanitizer which bytes of our own blocks nobody may touch (allocator headers, free arena space).
 * Without the sanitizer both macros vanish. */
#ifndef ED_BASE_POISON_H
#define ED_BASE_POISON_H

#if defined(__SANITIZE_ADDRESS__)
#define ED_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ED_ASAN 1
#endif
#endif

#ifdef ED_ASAN
#include <sanitizer/asan_interface.h>
#define ED_POISON(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define ED_UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#else
#define ED_POISON(p, n) ((void)(p), (void)(n))
#define ED_UNPOISON(p, n) ((void)(p), (void)(n))
#endif

#endif
