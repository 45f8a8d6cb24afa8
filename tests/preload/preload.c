/*
 * Put in front of the C library (LD_PRELOAD) of an nginx under test: lets allocations fail, moves
 * the clock, counts looks at files. What it is to do stands in a page that it shares with the test,
 * in the file that XSPACE_TEST_PRELOAD names; src/preload.rs has the other side.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct page {
    _Atomic int64_t fail_at;      /* the how-manieth allocation from now on fails; 0: none */
    _Atomic int64_t fail_one_in;  /* one of so many allocations fails; 0: none */
    _Atomic int64_t allocations;  /* how many there were */
    _Atomic int64_t failures;     /* and how many of them failed */
    _Atomic int64_t clock_offset; /* seconds */
    _Atomic int64_t looks;        /* at files below a directory "downloads" */
    _Atomic int64_t random;
};

static struct page *page;

__attribute__((constructor)) static void attach(void)
{
    const char *name = getenv("XSPACE_TEST_PRELOAD");
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) {
        return;
    }
    void *found = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (found != MAP_FAILED) {
        page = found;
    }
}

static int fails(void)
{
    if (page == NULL) {
        return 0;
    }
    page->allocations++;
    int fail = page->fail_at > 0 && --page->fail_at == 0;
    int64_t one_in = page->fail_one_in;
    if (one_in > 0) {
        uint64_t random = (uint64_t) (page->random += 1);
        random = (random ^ (random >> 31)) * 0x9e3779b97f4a7c15u;
        random = (random ^ (random >> 29)) * 0xbf58476d1ce4e5b9u;
        fail = fail || (random >> 32) % (uint64_t) one_in == 0;
    }
    if (fail) {
        page->failures++;
        errno = ENOMEM;
    }
    return fail;
}

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return fails() ? NULL : __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size)
{
    return fails() ? NULL : __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

int posix_memalign(void **where, size_t alignment, size_t size)
{
    void *made = memalign(alignment, size);
    if (made == NULL) {
        return ENOMEM;
    }
    *where = made;
    return 0;
}

#define REAL(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

static int64_t offset(void)
{
    return page ? page->clock_offset : 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    int rc = REAL(gettimeofday)(now, zone);
    if (rc == 0) {
        now->tv_sec += offset();
    }
    return rc;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int rc = REAL(clock_gettime)(clock, now);
    if (rc == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        now->tv_sec += offset();
    }
    return rc;
}

time_t time(time_t *where)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where != NULL) {
        *where = now.tv_sec;
    }
    return now.tv_sec;
}

static void look(const char *path)
{
    if (page != NULL && path != NULL && strstr(path, "downloads") != NULL) {
        page->looks++;
    }
}

#define OPEN(name)                                     \
    int name(const char *path, int flags, ...)         \
    {                                                  \
        va_list list;                                  \
        va_start(list, flags);                         \
        mode_t mode = va_arg(list, mode_t);            \
        va_end(list);                                  \
        look(path);                                    \
        return REAL(name)(path, flags, mode);          \
    }

#define OPENAT(name)                                   \
    int name(int dir, const char *path, int flags, ...) \
    {                                                  \
        va_list list;                                  \
        va_start(list, flags);                         \
        mode_t mode = va_arg(list, mode_t);            \
        va_end(list);                                  \
        look(path);                                    \
        return REAL(name)(dir, path, flags, mode);     \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int stat(const char *restrict path, struct stat *restrict buf)
{
    look(path);
    return REAL(stat)(path, buf);
}

int stat64(const char *restrict path, struct stat64 *restrict buf)
{
    look(path);
    return REAL(stat64)(path, buf);
}

int lstat(const char *restrict path, struct stat *restrict buf)
{
    look(path);
    return REAL(lstat)(path, buf);
}

int fstatat(int dir, const char *restrict path, struct stat *restrict buf, int flags)
{
    look(path);
    return REAL(fstatat)(dir, path, buf, flags);
}

int statx(int dir, const char *restrict path, int flags, unsigned mask, struct statx *restrict buf)
{
    look(path);
    return REAL(statx)(dir, path, flags, mask, buf);
}

int access(const char *path, int mode)
{
    look(path);
    return REAL(access)(path, mode);
}
