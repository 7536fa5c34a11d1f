/* Logs every change below one directory, in the order it happened, for replay.py; preloaded (LD_PRELOAD).

   Dormant until powercut_begin, or from the start where POWERCUT_ROOT and POWERCUT_LOG are set. Descriptors are known
   by what /proc/self/fd says of them, so that dup, fork and passing them on need no tracking. fsync is not passed to
   the kernel: what is on the disk is decided by the replay alone. What cannot be replayed is logged as such. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { NOTE, CREATE, WRITE, TRUNCATE, SYNC, SYNC_FAILED, SYNC_ALL, RENAME, LINK, UNLINK, MODE, UNSUPPORTED };

struct entry { /* then `names` bytes of zero-terminated names, then `data` bytes */
    uint32_t kind, names;
    uint64_t a, b, c, data;
};

struct place {
    ino_t parent;
    char name[NAME_MAX + 1];
};

#define REAL(function)                                                                            \
    ({                                                                                            \
        static __typeof__(&function) real;                                                        \
        if (!real) real = (__typeof__(&function))dlsym(RTLD_NEXT, #function);                     \
        real;                                                                                     \
    })

static char root[PATH_MAX];
static int log_fd = -1;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* ---- the log: one entry at a time, over threads and processes */

static void lock(void) {
    struct flock whole = {.l_type = F_WRLCK};
    pthread_mutex_lock(&mutex);
    while (fcntl(log_fd, F_SETLKW, &whole) && errno == EINTR) {
    }
}

static void unlock(void) {
    int kept = errno;
    struct flock whole = {.l_type = F_UNLCK};
    fcntl(log_fd, F_SETLK, &whole);
    pthread_mutex_unlock(&mutex);
    errno = kept;
}

static void after_fork(void) { pthread_mutex_init(&mutex, NULL); }

static void put_all(const void *from, size_t size) {
    for (const char *at = from; size;) {
        ssize_t done = REAL(write)(log_fd, at, size);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) abort(); /* a log that lies is worse than none */
        at += done, size -= (size_t)done;
    }
}

static void put_names(enum kind kind, uint64_t a, uint64_t b, uint64_t c, const char *one, const char *two,
                      const struct iovec *data, size_t size) {
    int kept = errno;
    struct entry head = {kind, (one ? strlen(one) + 1 : 0) + (two ? strlen(two) + 1 : 0), a, b, c, size};
    put_all(&head, sizeof head);
    if (one) put_all(one, strlen(one) + 1);
    if (two) put_all(two, strlen(two) + 1);
    for (; size; data++) {
        size_t part = data->iov_len < size ? data->iov_len : size;
        put_all(data->iov_base, part);
        size -= part;
    }
    errno = kept;
}

static void put(enum kind kind, uint64_t a, uint64_t b) { put_names(kind, a, b, 0, NULL, NULL, NULL, 0); }

static void unsupported(const char *what) {
    lock();
    put_names(UNSUPPORTED, 0, 0, 0, what, NULL, NULL, 0);
    unlock();
}

/* ---- faults: "ERROR:OPERATION:FIRST:COUNT ..."; operations are counted from 1, below the root only */

struct fault {
    int error; /* an errno, or one of those below */
    char operation[8];
    long first, count;
};
enum { DIE = -1, HALF = -2 };
static struct fault faults[16];
static long seen_writes, seen_syncs, seen_names, seen_any;

static long *counter(const char *operation) {
    if (!strcmp(operation, "write")) return &seen_writes;
    if (!strcmp(operation, "sync")) return &seen_syncs;
    return !strcmp(operation, "name") ? &seen_names : &seen_any;
}

void powercut_faults(const char *spec) {
    char error[8];
    size_t n = 0;
    memset(faults, 0, sizeof faults);
    seen_writes = seen_syncs = seen_names = seen_any = 0;
    for (int used; n < sizeof faults / sizeof *faults; n++, spec += used) {
        struct fault *f = &faults[n];
        if (sscanf(spec, " %7[A-Z]:%7[a-z]:%ld:%ld%n", error, f->operation, &f->first, &f->count, &used) != 4) break;
        f->error = !strcmp(error, "KILL")   ? DIE
                   : !strcmp(error, "HALF") ? HALF
                   : !strcmp(error, "EIO")  ? EIO
                                            : ENOSPC;
    }
}

static int fault(const char *operation) { /* 0, an errno, or HALF; holds the lock */
    int found = 0;
    ++*counter(operation), ++seen_any;
    for (struct fault *f = faults; f < faults + sizeof faults / sizeof *faults && f->count; f++) {
        long at = *counter(f->operation);
        int concerns = !strcmp(f->operation, operation) || !strcmp(f->operation, "any");
        if (!concerns || at < f->first || (f->count > 0 && at >= f->first + f->count)) continue;
        if (f->error == DIE) kill(getpid(), SIGKILL);
        found = f->error;
    }
    return found;
}

/* ---- how much more the disk holds */

static long long room = -1; /* bytes; -1: no limit */

void powercut_room(long long bytes) { room = bytes; }

static int fits(const struct stat *st, off_t end) { return room < 0 || end <= st->st_size || end - st->st_size <= room; }

static void taken(off_t bytes) {
    if (room >= 0) room -= bytes;
}

static void given_back(const struct stat *st) { /* a name is going, maybe the last one */
    if (S_ISREG(st->st_mode) && st->st_nlink == 1) taken(-st->st_size);
}

#define FAIL_IF_FAULTY(operation, failure)                                                        \
    do {                                                                                          \
        int error = fault(operation);                                                             \
        if (error > 0) {                                                                          \
            unlock();                                                                             \
            errno = error;                                                                        \
            return failure;                                                                       \
        }                                                                                         \
    } while (0)

/* ---- what is below the root */

static int below(const char *path) {
    size_t length = strlen(root);
    return !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

static int tracked(int fd, struct stat *st) {
    char link[32], path[PATH_MAX];
    int kept = errno, yes = 0;
    if (log_fd < 0 || fd < 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length > 0) {
        path[length] = 0;
        yes = below(path) && !fstat(fd, st);
    }
    errno = kept;
    return yes;
}

static int placed(int dirfd, const char *path, struct place *found) {
    char whole[PATH_MAX], folder[PATH_MAX];
    struct stat st;
    int kept = errno;
    if (log_fd < 0 || !path) return 0;
    if (*path == '/' || dirfd == AT_FDCWD)
        snprintf(whole, sizeof whole, "%s", path);
    else
        snprintf(whole, sizeof whole, "/proc/self/fd/%d/%s", dirfd, path);
    for (size_t end = strlen(whole); end > 1 && whole[end - 1] == '/';) whole[--end] = 0;
    char *slash = strrchr(whole, '/');
    snprintf(found->name, sizeof found->name, "%s", slash ? slash + 1 : whole);
    if (slash) slash[slash == whole] = 0;
    int yes = realpath(slash ? whole : ".", folder) && below(folder) && !stat(folder, &st);
    if (yes) found->parent = st.st_ino;
    errno = kept;
    return yes;
}

static void put_created(const struct place *at, const struct stat *st, const char *target) {
    struct iovec data = {(char *)target, target ? strlen(target) : 0};
    put_names(CREATE, at->parent, st->st_ino, st->st_mode, at->name, NULL, &data, data.iov_len);
}

/* ---- opening */

static int opened(int dirfd, const char *path, int flags, mode_t mode) {
    struct place at;
    struct stat st;
    int touches = (flags & (O_CREAT | O_TRUNC)) || (flags & O_TMPFILE) == O_TMPFILE;
    if (!touches || !placed(dirfd, path, &at)) return REAL(openat)(dirfd, path, flags, mode);
    if ((flags & O_TMPFILE) == O_TMPFILE) unsupported("O_TMPFILE");
    lock();
    struct stat before;
    int existed = !fstatat(dirfd, path, &before, 0);
    if (!existed) FAIL_IF_FAULTY("name", -1);
    int fd = REAL(openat)(dirfd, path, flags, mode);
    if (fd >= 0 && !fstat(fd, &st)) {
        if (!existed)
            put_created(&at, &st, NULL);
        else if (flags & O_TRUNC)
            put(TRUNCATE, st.st_ino, 0), given_back(&before);
    }
    unlock();
    return fd;
}

#define MODE_ARGUMENT                                                                             \
    mode_t mode = 0;                                                                              \
    if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) {                                  \
        va_list list;                                                                             \
        va_start(list, flags);                                                                    \
        mode = va_arg(list, mode_t);                                                              \
        va_end(list);                                                                             \
    }

int open(const char *path, int flags, ...) {
    MODE_ARGUMENT
    return opened(AT_FDCWD, path, flags, mode);
}

int openat(int dirfd, const char *path, int flags, ...) {
    MODE_ARGUMENT
    return opened(dirfd, path, flags, mode);
}

int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int open64(const char *path, int flags, ...) __attribute__((alias("open")));
int openat64(int dirfd, const char *path, int flags, ...) __attribute__((alias("openat")));
int creat64(const char *path, mode_t mode) __attribute__((alias("creat")));

FILE *fopen(const char *path, const char *mode) {
    struct place at;
    if (strpbrk(mode, "wa+") && placed(AT_FDCWD, path, &at)) unsupported("fopen");
    return REAL(fopen)(path, mode);
}
FILE *fopen64(const char *path, const char *mode) __attribute__((alias("fopen")));

/* ---- writing */

static ssize_t written(int fd, const struct iovec *parts, int count, off_t at, const struct stat *st) {
    struct iovec half;
    lock();
    int error = fault("write");
    if (error == HALF && parts->iov_len > 1) half = *parts, half.iov_len /= 2, parts = &half, count = 1;
    off_t end = at < 0 ? (fcntl(fd, F_GETFL) & O_APPEND ? st->st_size : lseek(fd, 0, SEEK_CUR)) : at;
    for (int i = 0; i < count; i++) end += (off_t)parts[i].iov_len;
    if (error <= 0 && !fits(st, end)) error = ENOSPC;
    if (error > 0) {
        unlock();
        errno = error;
        return -1;
    }
    ssize_t done = at < 0 ? REAL(writev)(fd, parts, count) : REAL(pwritev)(fd, parts, count, at);
    if (done > 0) {
        if (at < 0) at = lseek(fd, 0, SEEK_CUR) - done;
        put_names(WRITE, st->st_ino, (uint64_t)at, 0, NULL, NULL, parts, (size_t)done);
        if (at + done > st->st_size) taken(at + done - st->st_size);
    }
    unlock();
    return done;
}

ssize_t write(int fd, const void *from, size_t size) {
    struct stat st;
    struct iovec part = {(void *)from, size};
    return tracked(fd, &st) ? written(fd, &part, 1, -1, &st) : REAL(write)(fd, from, size);
}

ssize_t pwrite(int fd, const void *from, size_t size, off_t at) {
    struct stat st;
    struct iovec part = {(void *)from, size};
    return tracked(fd, &st) ? written(fd, &part, 1, at, &st) : REAL(pwrite)(fd, from, size, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    struct stat st;
    return tracked(fd, &st) ? written(fd, parts, count, -1, &st) : REAL(writev)(fd, parts, count);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    struct stat st;
    return tracked(fd, &st) ? written(fd, parts, count, at, &st) : REAL(pwritev)(fd, parts, count, at);
}

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    struct stat st;
    return tracked(fd, &st) ? written(fd, parts, count, at, &st) : REAL(pwritev2)(fd, parts, count, at, flags);
}

ssize_t pwrite64(int fd, const void *from, size_t size, off_t at) __attribute__((alias("pwrite")));
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at) __attribute__((alias("pwritev")));
ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off_t at, int flags) __attribute__((alias("pwritev2")));

static ssize_t through_here(int out, int in, off_t *from, size_t size, const struct stat *st) {
    char buffer[65536];
    ssize_t got = from ? pread(in, buffer, size < sizeof buffer ? size : sizeof buffer, *from)
                       : read(in, buffer, size < sizeof buffer ? size : sizeof buffer);
    if (got <= 0) return got;
    struct iovec part = {buffer, (size_t)got};
    if (from) *from += got;
    return written(out, &part, 1, -1, st);
}

ssize_t sendfile(int out, int in, off_t *from, size_t size) {
    struct stat st;
    return tracked(out, &st) ? through_here(out, in, from, size, &st) : REAL(sendfile)(out, in, from, size);
}
ssize_t sendfile64(int out, int in, off_t *from, size_t size) __attribute__((alias("sendfile")));

ssize_t copy_file_range(int in, off_t *from, int out, off_t *to, size_t size, unsigned flags) {
    struct stat st;
    if (!tracked(out, &st)) return REAL(copy_file_range)(in, from, out, to, size, flags);
    errno = ENOSYS; /* as an old kernel; callers fall back */
    return -1;
}

static int resized(const struct stat *st, off_t size, int done) {
    if (!done) put(TRUNCATE, st->st_ino, (uint64_t)size), taken(size - st->st_size);
    unlock();
    return done;
}

int ftruncate(int fd, off_t size) {
    struct stat st;
    if (!tracked(fd, &st)) return REAL(ftruncate)(fd, size);
    lock();
    FAIL_IF_FAULTY("write", -1);
    if (!fits(&st, size)) {
        unlock();
        errno = ENOSPC;
        return -1;
    }
    return resized(&st, size, REAL(ftruncate)(fd, size));
}
int ftruncate64(int fd, off_t size) __attribute__((alias("ftruncate")));

int truncate(const char *path, off_t size) {
    struct place at;
    struct stat st;
    if (!placed(AT_FDCWD, path, &at) || stat(path, &st)) return REAL(truncate)(path, size);
    lock();
    FAIL_IF_FAULTY("write", -1);
    return resized(&st, size, REAL(truncate)(path, size));
}
int truncate64(const char *path, off_t size) __attribute__((alias("truncate")));

int fallocate(int fd, int mode, off_t at, off_t size) {
    struct stat st;
    if (tracked(fd, &st)) unsupported("fallocate");
    return REAL(fallocate)(fd, mode, at, size);
}
int fallocate64(int fd, int mode, off_t at, off_t size) __attribute__((alias("fallocate")));

int posix_fallocate(int fd, off_t at, off_t size) {
    struct stat st;
    if (!tracked(fd, &st)) return REAL(posix_fallocate)(fd, at, size);
    if (at + size <= st.st_size) return 0;
    return ftruncate(fd, at + size) ? errno : 0;
}
int posix_fallocate64(int fd, off_t at, off_t size) __attribute__((alias("posix_fallocate")));

void *mmap(void *where, size_t size, int protection, int flags, int fd, off_t at) {
    char link[32], path[PATH_MAX] = "";
    struct stat st;
    if (fd >= 0 && (protection & PROT_WRITE) && (flags & MAP_SHARED) && tracked(fd, &st)) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof path - 1);
        /* SQLite's shared memory is made anew at every start */
        if (length < 4 || strncmp(path + length - 4, "-shm", 4)) unsupported("mmap");
    }
    return REAL(mmap)(where, size, protection, flags, fd, at);
}
void *mmap64(void *where, size_t size, int protection, int flags, int fd, off_t at) __attribute__((alias("mmap")));

/* ---- syncing */

static int synced(const struct stat *st) {
    lock();
    int error = fault("sync");
    put(error > 0 ? SYNC_FAILED : SYNC, st->st_ino, 0);
    unlock();
    if (error <= 0) return 0;
    errno = error;
    return -1;
}

int fsync(int fd) {
    struct stat st;
    return tracked(fd, &st) ? synced(&st) : REAL(fsync)(fd);
}

int fdatasync(int fd) {
    struct stat st;
    return tracked(fd, &st) ? synced(&st) : REAL(fdatasync)(fd);
}

int syncfs(int fd) {
    struct stat st;
    if (!tracked(fd, &st)) return REAL(syncfs)(fd);
    lock();
    put(SYNC_ALL, 0, 0);
    unlock();
    return 0;
}

/* ---- names */

int renameat(int from_dir, const char *from, int to_dir, const char *to) {
    struct place one, two;
    int leaves = placed(from_dir, from, &one), enters = placed(to_dir, to, &two);
    if (leaves != enters) unsupported("a rename across the root");
    if (!leaves || !enters) return REAL(renameat)(from_dir, from, to_dir, to);
    lock();
    FAIL_IF_FAULTY("name", -1);
    struct stat over = {0};
    fstatat(to_dir, to, &over, AT_SYMLINK_NOFOLLOW);
    int done = REAL(renameat)(from_dir, from, to_dir, to);
    if (!done) given_back(&over);
    if (!done) put_names(RENAME, one.parent, two.parent, 0, one.name, two.name, NULL, 0);
    unlock();
    return done;
}

int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    struct place at;
    if (flags && (placed(from_dir, from, &at) || placed(to_dir, to, &at))) unsupported("renameat2");
    return flags ? REAL(renameat2)(from_dir, from, to_dir, to, flags) : renameat(from_dir, from, to_dir, to);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    struct place at;
    struct stat st;
    if (!placed(to_dir, to, &at)) return REAL(linkat)(from_dir, from, to_dir, to, flags);
    lock();
    FAIL_IF_FAULTY("name", -1);
    int done = REAL(linkat)(from_dir, from, to_dir, to, flags);
    if (!done && !fstatat(to_dir, to, &st, AT_SYMLINK_NOFOLLOW))
        put_names(LINK, st.st_ino, at.parent, 0, at.name, NULL, NULL, 0);
    unlock();
    return done;
}

int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int symlinkat(const char *target, int dirfd, const char *path) {
    struct place at;
    struct stat st;
    if (!placed(dirfd, path, &at)) return REAL(symlinkat)(target, dirfd, path);
    lock();
    FAIL_IF_FAULTY("name", -1);
    int done = REAL(symlinkat)(target, dirfd, path);
    if (!done && !fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW)) put_created(&at, &st, target);
    unlock();
    return done;
}

int symlink(const char *target, const char *path) { return symlinkat(target, AT_FDCWD, path); }

int unlinkat(int dirfd, const char *path, int flags) {
    struct place at;
    if (!placed(dirfd, path, &at)) return REAL(unlinkat)(dirfd, path, flags);
    lock();
    FAIL_IF_FAULTY("name", -1);
    struct stat gone = {0};
    fstatat(dirfd, path, &gone, AT_SYMLINK_NOFOLLOW);
    int done = REAL(unlinkat)(dirfd, path, flags);
    if (!done) given_back(&gone);
    if (!done) put_names(UNLINK, at.parent, 0, 0, at.name, NULL, NULL, 0);
    unlock();
    return done;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char *path) {
    struct stat st;
    return unlinkat(AT_FDCWD, path, !lstat(path, &st) && S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0);
}

int mkdirat(int dirfd, const char *path, mode_t mode) {
    struct place at;
    struct stat st;
    if (!placed(dirfd, path, &at)) return REAL(mkdirat)(dirfd, path, mode);
    lock();
    FAIL_IF_FAULTY("name", -1);
    int done = REAL(mkdirat)(dirfd, path, mode);
    if (!done && !fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW)) put_created(&at, &st, NULL);
    unlock();
    return done;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int fchmod(int fd, mode_t mode) {
    struct stat st;
    int done = REAL(fchmod)(fd, mode);
    if (done || !tracked(fd, &st)) return done;
    lock();
    put(MODE, st.st_ino, mode);
    unlock();
    return 0;
}

int fchmodat(int dirfd, const char *path, mode_t mode, int flags) {
    struct place at;
    struct stat st;
    int done = REAL(fchmodat)(dirfd, path, mode, flags);
    if (done || !placed(dirfd, path, &at) || fstatat(dirfd, path, &st, 0)) return done;
    lock();
    put(MODE, st.st_ino, mode);
    unlock();
    return 0;
}

int chmod(const char *path, mode_t mode) { return fchmodat(AT_FDCWD, path, mode, 0); }

/* ---- what a recorded program may call */

void powercut_note(const char *text, size_t size) {
    struct iovec data = {(char *)text, size};
    if (log_fd < 0) return;
    lock();
    put_names(NOTE, 0, 0, 0, NULL, NULL, &data, size);
    unlock();
}

int powercut_begin(const char *below_here, const char *log, const char *spec) {
    int fd = REAL(openat)(AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || !realpath(below_here, root)) return -1;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 512); /* where nobody expects a number of his own */
    if (high < 0)
        high = fd;
    else
        close(fd);
    powercut_faults(spec);
    log_fd = high;
    return 0;
}

__attribute__((constructor)) static void begin_by_environment(void) {
    const char *below_here = getenv("POWERCUT_ROOT"), *log = getenv("POWERCUT_LOG"), *spec = getenv("POWERCUT_FAULTS");
    pthread_atfork(NULL, NULL, after_fork);
    if (below_here && log && powercut_begin(below_here, log, spec ? spec : "")) abort();
}
