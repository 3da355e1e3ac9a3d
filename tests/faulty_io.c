/* Stands between a process and the C library (LD_PRELOAD): logs and fails calls on files below one folder.

   It sees what Python and SQLite alike ask of the system: open, read, write, fsync, ftruncate, unlink, mkdir and their
   kin. It does not see stores through mmap, which SQLite uses for `-shm` only: that file is rebuilt after a crash. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define FILES 4096
#define REAL(result, name, ...) ((result(*)(__VA_ARGS__))real(name))

static char watched[4096], hit[64];
static char *names[FILES];
static int log_to = -1, error, goes_on;
static long count, fails_at;

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }
static const char *name_of(int file) { return file >= 0 && file < FILES ? names[file] : NULL; }
static int is_watched(const char *path) {
    size_t n = strlen(watched);
    return n && path && !strncmp(path, watched, n) && (path[n] == '/' || !path[n]);
}

void faulty_watch(const char *folder) { strncpy(watched, folder, sizeof watched - 1); }
void faulty_log(int file) { log_to = file; }
long faulty_count(void) { return count; }
const char *faulty_hit(void) { return hit; }
/* From now on the k-th call fails, and if `for_good` every later one but reads. k = 0: none. */
void faulty_arm(long k, int code, int for_good) { count = 0, hit[0] = 0, fails_at = k, error = code, goes_on = for_good; }

static void note(const char *call, const char *path, long offset, long size, const void *data) {
    char head[8192];
    if (log_to < 0 || !is_watched(path)) return;
    int n = snprintf(head, sizeof head, "%s %ld %ld %s\n", call, offset, data ? size : 0, path);
    ssize_t (*put)(int, const void *, size_t) = real("write");
    if (put(log_to, head, n) != n || (data && put(log_to, data, size) != size)) abort();
}
void faulty_mark(const char *text) { char path[8192]; snprintf(path, sizeof path, "%s/%s", watched, text); note("mark", path, 0, 0, NULL); }

static int fails(const char *call, const char *path) {
    if (!is_watched(path)) return 0;
    count++;
    int later = goes_on && count > fails_at && strcmp(call, "read");
    if (!fails_at || (count != fails_at && !later)) return 0;
    if (!hit[0]) snprintf(hit, sizeof hit, "%s", call);
    errno = error;
    return 1;
}

static int opened(const char *symbol, int folder, const char *path, int flags, mode_t mode) {
    int writes = flags & (O_CREAT | O_TRUNC), is_new = (flags & O_CREAT) && access(path, F_OK);
    if (fails(writes ? "create" : "open", path)) return -1;
    int file = symbol[4] == 'a' ? REAL(int, symbol, int, const char *, int, ...)(folder, path, flags, mode)
                                : REAL(int, symbol, const char *, int, ...)(path, flags, mode);
    if (file >= 0 && file < FILES && is_watched(path)) {
        free(names[file]);
        names[file] = strdup(path);
        if (is_new) note("create", path, 0, 0, NULL);
        else if (flags & O_TRUNC) note("truncate", path, 0, 0, NULL);
    }
    return file;
}
#define MODE mode_t mode = 0; if (flags & O_CREAT) { va_list rest; va_start(rest, flags); mode = va_arg(rest, int); va_end(rest); }
int open(const char *path, int flags, ...) { MODE return opened("open", 0, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opened("open64", 0, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE return opened("openat", folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE return opened("openat64", folder, path, flags, mode); }
int close(int file) {
    if (name_of(file)) free(names[file]), names[file] = NULL;
    return REAL(int, "close", int)(file);
}

ssize_t read(int file, void *data, size_t n) {
    return fails("read", name_of(file)) ? -1 : REAL(ssize_t, "read", int, void *, size_t)(file, data, n);
}
ssize_t pread(int file, void *data, size_t n, off_t at) {
    return fails("read", name_of(file)) ? -1 : REAL(ssize_t, "pread", int, void *, size_t, off_t)(file, data, n, at);
}
ssize_t pread64(int file, void *data, size_t n, off64_t at) {
    return fails("read", name_of(file)) ? -1 : REAL(ssize_t, "pread64", int, void *, size_t, off64_t)(file, data, n, at);
}
ssize_t write(int file, const void *data, size_t n) {
    if (fails("write", name_of(file))) return -1;
    off_t at = name_of(file) ? lseek(file, 0, SEEK_CUR) : 0;
    ssize_t done = REAL(ssize_t, "write", int, const void *, size_t)(file, data, n);
    if (done > 0) note("write", name_of(file), at, done, data);
    return done;
}
#define PWRITE(symbol, offset) \
    ssize_t symbol(int file, const void *data, size_t n, offset at) { \
        if (fails("write", name_of(file))) return -1; \
        ssize_t done = REAL(ssize_t, #symbol, int, const void *, size_t, offset)(file, data, n, at); \
        if (done > 0) note("write", name_of(file), at, done, data); \
        return done; \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)
int fsync(int file) {
    if (fails("fsync", name_of(file))) return -1;
    int done = REAL(int, "fsync", int)(file);
    if (!done) note("fsync", name_of(file), 0, 0, NULL);
    return done;
}
int fdatasync(int file) {
    if (fails("fsync", name_of(file))) return -1;
    int done = REAL(int, "fdatasync", int)(file);
    if (!done) note("fsync", name_of(file), 0, 0, NULL);
    return done;
}
#define FTRUNCATE(symbol, offset) \
    int symbol(int file, offset size) { \
        if (fails("truncate", name_of(file))) return -1; \
        int done = REAL(int, #symbol, int, offset)(file, size); \
        if (!done) note("truncate", name_of(file), size, 0, NULL); \
        return done; \
    }
FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)
int unlink(const char *path) {
    if (fails("unlink", path)) return -1;
    int done = REAL(int, "unlink", const char *)(path);
    if (!done) note("unlink", path, 0, 0, NULL);
    return done;
}
int mkdir(const char *path, mode_t mode) {
    if (fails("mkdir", path)) return -1;
    int done = REAL(int, "mkdir", const char *, mode_t)(path, mode);
    if (!done) note("mkdir", path, 0, 0, NULL);
    return done;
}
/* What nothing here models ends the process: a log that left it out would prove nothing. */
#define UNKNOWN(symbol, ...) int symbol(__VA_ARGS__) { if (is_watched(path)) abort(); return ((int (*)(__VA_ARGS__))real(#symbol))
UNKNOWN(rename, const char *path, const char *to)(path, to); }
UNKNOWN(link, const char *path, const char *to)(path, to); }
UNKNOWN(truncate, const char *path, off_t size)(path, size); }
UNKNOWN(truncate64, const char *path, off64_t size)(path, size); }
