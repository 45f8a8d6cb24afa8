/*
 * Loaded into nginx by LD_PRELOAD: makes a file hang as on a mount whose server is gone. A read of
 * the file XSPACE_TEST_HANGING, from byte XSPACE_TEST_HANGING_FROM on, waits as long as there is a
 * file of that name with ".hang" behind, and says so by writing to that one. With "open" instead of
 * a byte, open() waits when the file is open.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static ssize_t (*next_read)(int, void *, size_t);
static ssize_t (*next_pread)(int, void *, size_t, off_t);
static char path[4096], gate[4096 + 8];
static int (*next_open)(const char *, int, ...);
static off_t from;
static int at_open;

/* nginx clears the environment of its workers. */
__attribute__((constructor)) static void set_up(void)
{
    const char *name = getenv("XSPACE_TEST_HANGING");
    const char *where = getenv("XSPACE_TEST_HANGING_FROM");

    next_read = (ssize_t (*)(int, void *, size_t)) dlsym(RTLD_NEXT, "read");
    next_pread = (ssize_t (*)(int, void *, size_t, off_t)) dlsym(RTLD_NEXT, "pread");
    next_open = (int (*)(const char *, int, ...)) dlsym(RTLD_NEXT, "open64");
    if (name != NULL) {
        snprintf(path, sizeof path, "%s", name);
        snprintf(gate, sizeof gate, "%s.hang", path);
        at_open = strcmp(where, "open") == 0;
        from = atol(where);
    }
}

static int is_ours(int fd)
{
    char link[64], target[4096];
    ssize_t len;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    len = readlink(link, target, sizeof target - 1);
    if (len <= 0) {
        return 0;
    }
    target[len] = '\0';
    return strcmp(target, path) == 0;
}

static void hang(int fd)
{
    int out;

    if (is_ours(fd)) {
        out = next_open(gate, O_WRONLY | O_APPEND);
        if (out != -1) {
            if (write(out, ".", 1) != 1) {
                abort();
            }
            close(out);
        }
        while (access(gate, F_OK) == 0) {
            usleep(1000);
        }
    }
}

static void hang_in_read(int fd)
{
    if (!at_open && lseek(fd, 0, SEEK_CUR) >= from) {
        hang(fd);
    }
}

int open64(const char *name, int flags, ...)
{
    va_list list;
    mode_t mode;
    int fd;

    va_start(list, flags);
    mode = va_arg(list, mode_t);
    va_end(list);
    fd = next_open(name, flags, mode);
    if (at_open) {
        hang(fd);
    }
    return fd;
}

ssize_t read(int fd, void *buffer, size_t size)
{
    hang_in_read(fd);
    return next_read(fd, buffer, size);
}

ssize_t pread(int fd, void *buffer, size_t size, off_t offset)
{
    hang_in_read(fd);
    return next_pread(fd, buffer, size, offset);
}

/* As NGINX calls it, which is built for files of any length. */
ssize_t pread64(int fd, void *buffer, size_t size, off64_t offset)
{
    return pread(fd, buffer, size, offset);
}
