/* Looks at, and breaks, what processes ask of the disk below one folder: see tests/campaigns/disk_calls.py.

   Preloaded into every process of a job. FF_ROOT is the folder. With FF_TRACE each call that changed something is
   appended to that file when it has succeeded. With FF_FAIL ("KIND ERRNO N") the N-th call of each process that
   FF_ROLE fits is failed; which one that was is appended to FF_LOG, or each call if they are counted. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT = 'c', ONCE = 'o', FULL = 'f', DEAD = 'd', SHORT = 's', TORN = 't' };
/* as tests/campaigns/disk_calls.py names them */
enum { OPEN = 1, WRITE, TRUNCATE, RENAME, LINK, SYMLINK, UNLINK, RMDIR, MKDIR, BEGIN, SYNC, SYNCFS };
static const char *NAMES[] = {"",       "open",   "write", "truncate", "rename", "link",  "symlink",
                              "unlink", "rmdir",  "mkdir", "begin",    "fsync",  "syncfs"};

static char root[PATH_MAX], trace[PATH_MAX], fail_log[PATH_MAX];
static size_t root_length;
static int is_role = 1, kind, number;
static long target, calls;
static int is_torn;

static void take(char *to, const char *name) {
    const char *value = getenv(name);
    if (value) snprintf(to, PATH_MAX, "%s", value);
}

/* FF_ROLE: words, each of which the command line or FRAMEFLEET_ROOT must contain */
static int fits(const char *role) {
    char text[1 << 14], words[PATH_MAX];
    int file = syscall(SYS_openat, AT_FDCWD, "/proc/self/cmdline", O_RDONLY);
    ssize_t size = file < 0 ? 0 : syscall(SYS_read, file, text, sizeof text / 2);
    if (file >= 0) syscall(SYS_close, file);
    if (size < 0) size = 0;
    for (ssize_t at = 0; at < size; at++)
        if (!text[at]) text[at] = ' ';
    const char *host = getenv("FRAMEFLEET_ROOT");
    snprintf(text + size, sizeof text - size, " %s ", host ? host : "");
    snprintf(words, sizeof words, "%s", role);
    for (char *rest, *word = strtok_r(words, ",", &rest); word; word = strtok_r(NULL, ",", &rest))
        if (!strstr(text, word)) return 0;
    return 1;
}

__attribute__((constructor)) static void begin(void) {
    char text[PATH_MAX] = "";
    take(root, "FF_ROOT"), take(trace, "FF_TRACE"), take(fail_log, "FF_LOG");
    root_length = strlen(root);
    take(text, "FF_FAIL");
    char letter = 0;
    if (sscanf(text, "%c %d %ld", &letter, &number, &target) == 3) kind = letter;
    if (getenv("FF_ROLE")) is_role = fits(getenv("FF_ROLE"));
}

/* for a test's own process: fail its n-th call below a folder from now on; none if the kind is 0 */
void disk_calls_arm(int letter, int error, long n, const char *below) {
    kind = letter, number = error, target = n, calls = 0, is_torn = 0, is_role = 1;
    snprintf(root, sizeof root, "%s", below);
    root_length = strlen(root);
}

long disk_calls_made(void) { return calls; }

static int path_of(int descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    path[size < 0 ? 0 : size] = 0;
    return size > 0;
}

static int is_below(const char *path) {
    return root_length && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static int locate(int folder, const char *name, char *path) {
    if (!root_length || !name) return 0;
    if (name[0] == '/')
        snprintf(path, PATH_MAX, "%s", name);
    else {
        char above[PATH_MAX];
        if (folder == AT_FDCWD) {
            if (syscall(SYS_getcwd, above, sizeof above) < 0) return 0;
        } else if (!path_of(folder, above))
            return 0;
        if (snprintf(path, PATH_MAX, "%s/%s", above, name) >= PATH_MAX) return 0;
    }
    return is_below(path);
}

static void append(const char *file, const struct iovec *parts, int count) {
    int saved = errno;
    int out = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (out >= 0) {
        syscall(SYS_writev, out, parts, count);
        syscall(SYS_close, out);
    }
    errno = saved;
}

static void note(int call, uint64_t inode, int64_t offset, const char *path, const void *data, size_t size) {
    if (!trace[0]) return;
    struct { uint32_t call, pid, path, size; uint64_t inode; int64_t offset; } head = {
        call, getpid(), strlen(path), size, inode, offset};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)path, head.path}, {(void *)data, size}};
    append(trace, parts, 3);
}

static uint64_t inode_of(int descriptor) {
    struct stat found;
    return fstat(descriptor, &found) ? 0 : found.st_ino;
}

/* Whether this call is to fail. `grows`: it takes room on the disk. A write may be cut short instead. */
static int fails(int call, const char *path, int grows, size_t *size) {
    if (!kind || !is_role) return 0;
    long n = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    int is_write = call == WRITE, hit = 0;
    if (kind == ONCE) hit = n == target;
    if (kind == FULL) hit = n >= target && grows;
    if (kind == DEAD) hit = n >= target;
    if (kind == SHORT || kind == TORN) {
        if (is_torn && is_write) {
            hit = 1, is_torn = 0;
        } else if (n >= target && is_write && size && *size > 1 && !is_torn) {
            *size /= 2;
            is_torn = kind == TORN;
            target = LONG_MAX;
            n = -n;
        }
    }
    if ((hit && (kind == ONCE || kind == TORN || n == target)) || n < 0 || kind == COUNT) {
        char text[PATH_MAX + 100];
        const char *what = kind == COUNT ? "made" : n < 0 ? "cut short" : strerror(number);
        int length = snprintf(text, sizeof text, "%d: call %ld: %s %s: %s\n", getpid(), n < 0 ? -n : n,
                              NAMES[call], path + root_length, what);
        struct iovec part = {text, length};
        if (fail_log[0]) append(fail_log, &part, 1);
    }
    if (hit) errno = number;
    return hit;
}


static int open_at(int folder, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    int below = !(flags & O_PATH) && locate(folder, name, path);
    int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
    if (below && fails(OPEN, path, (flags & O_CREAT) != 0, NULL)) return -1;
    int descriptor = syscall(SYS_openat, folder, name, flags, mode);
    if (below && descriptor >= 0 && writes)
        note(OPEN, inode_of(descriptor), flags & (O_TRUNC | O_CREAT), path, "", 0);
    return descriptor;
}

#define MODE(flags)                                                                                        \
    mode_t mode = 0;                                                                                       \
    if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
int open(const char *name, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, name, flags, mode); }
int openat(int folder, const char *name, int flags, ...) { MODE(flags) return open_at(folder, name, flags, mode); }
int openat64(int folder, const char *name, int flags, ...) { MODE(flags) return open_at(folder, name, flags, mode); }

static int of_ours(int descriptor, char *path) {
    struct stat found;
    int saved = errno;
    int ours = root_length && !fstat(descriptor, &found) && (S_ISREG(found.st_mode) || S_ISDIR(found.st_mode)) &&
               path_of(descriptor, path) && is_below(path);
    errno = saved;
    return ours;
}

static ssize_t write_at(int descriptor, const void *data, size_t size, off_t offset, int has_offset) {
    char path[PATH_MAX];
    int ours = of_ours(descriptor, path);
    if (ours && fails(WRITE, path, 1, &size)) return -1;
    ssize_t done = has_offset ? syscall(SYS_pwrite64, descriptor, data, size, offset)
                              : syscall(SYS_write, descriptor, data, size);
    if (ours && done > 0) {
        if (!has_offset) offset = syscall(SYS_lseek, descriptor, 0, SEEK_CUR) - done;
        note(WRITE, inode_of(descriptor), offset, path, data, done);
    }
    return done;
}

ssize_t write(int descriptor, const void *data, size_t size) { return write_at(descriptor, data, size, 0, 0); }
ssize_t pwrite(int descriptor, const void *data, size_t size, off_t at) {
    return write_at(descriptor, data, size, at, 1);
}
ssize_t pwrite64(int descriptor, const void *data, size_t size, off_t at) {
    return write_at(descriptor, data, size, at, 1);
}
ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    char path[PATH_MAX];
    if (!of_ours(descriptor, path)) return syscall(SYS_writev, descriptor, parts, count);
    ssize_t all = 0;
    for (int at = 0; at < count; at++) {
        ssize_t done = parts[at].iov_len ? write(descriptor, parts[at].iov_base, parts[at].iov_len) : 0;
        if (done < 0) return all ? all : -1;
        all += done;
        if ((size_t)done < parts[at].iov_len) break;
    }
    return all;
}
/* what has the kernel copy is told to do it by read and write */
ssize_t sendfile(int to, int from, off_t *at, size_t size) {
    char path[PATH_MAX];
    if (of_ours(to, path)) return errno = EINVAL, -1;
    return syscall(SYS_sendfile, to, from, at, size);
}
ssize_t sendfile64(int to, int from, off_t *at, size_t size) { return sendfile(to, from, at, size); }
ssize_t copy_file_range(int from, off_t *at, int to, off_t *target_at, size_t size, unsigned flags) {
    char path[PATH_MAX];
    if (of_ours(to, path)) return errno = EXDEV, -1;
    return syscall(SYS_copy_file_range, from, at, to, target_at, size, flags);
}

int ftruncate(int descriptor, off_t size) {
    char path[PATH_MAX];
    int ours = of_ours(descriptor, path);
    if (ours && fails(TRUNCATE, path, 0, NULL)) return -1;
    int code = syscall(SYS_ftruncate, descriptor, size);
    if (ours && !code) note(TRUNCATE, inode_of(descriptor), size, path, "", 0);
    return code;
}
int ftruncate64(int descriptor, off_t size) { return ftruncate(descriptor, size); }

static int sync_of(int descriptor, int call, int by) {
    char path[PATH_MAX];
    int ours = of_ours(descriptor, path);
    if (ours && fails(call, path, 0, NULL)) return -1;
    uint64_t inode = ours ? inode_of(descriptor) : 0;
    if (ours) note(BEGIN, inode, call, path, "", 0);
    int code = syscall(by, descriptor);
    if (ours && !code) note(call, inode, 0, path, "", 0);
    return code;
}
int fsync(int descriptor) { return sync_of(descriptor, SYNC, SYS_fsync); }
int fdatasync(int descriptor) { return sync_of(descriptor, SYNC, SYS_fdatasync); }
int syncfs(int descriptor) { return sync_of(descriptor, SYNCFS, SYS_syncfs); }

static int two_names(int call, int from, const char *name, int to, const char *target, int flags) {
    char path[PATH_MAX], other[PATH_MAX];
    int ours = locate(from, name, path) | locate(to, target, other);
    if (ours && fails(call, other, call == LINK, NULL)) return -1;
    int code = call == RENAME ? syscall(SYS_renameat2, from, name, to, target, flags)
                              : syscall(SYS_linkat, from, name, to, target, flags);
    if (ours && !code) note(call, 0, 0, path, other, strlen(other));
    return code;
}
int rename(const char *name, const char *target) {
    return two_names(RENAME, AT_FDCWD, name, AT_FDCWD, target, 0);
}
int renameat(int from, const char *name, int to, const char *target) {
    return two_names(RENAME, from, name, to, target, 0);
}
int renameat2(int from, const char *name, int to, const char *target, unsigned flags) {
    return two_names(RENAME, from, name, to, target, flags);
}
int link(const char *name, const char *target) { return two_names(LINK, AT_FDCWD, name, AT_FDCWD, target, 0); }
int linkat(int from, const char *name, int to, const char *target, int flags) {
    return two_names(LINK, from, name, to, target, flags);
}

int symlinkat(const char *to, int folder, const char *name) {
    char path[PATH_MAX];
    int ours = locate(folder, name, path);
    if (ours && fails(SYMLINK, path, 1, NULL)) return -1;
    int code = syscall(SYS_symlinkat, to, folder, name);
    if (ours && !code) note(SYMLINK, 0, 0, path, to, strlen(to));
    return code;
}
int symlink(const char *to, const char *name) { return symlinkat(to, AT_FDCWD, name); }

int unlinkat(int folder, const char *name, int flags) {
    char path[PATH_MAX];
    int ours = locate(folder, name, path), call = flags & AT_REMOVEDIR ? RMDIR : UNLINK;
    if (ours && fails(call, path, 0, NULL)) return -1;
    int code = syscall(SYS_unlinkat, folder, name, flags);
    if (ours && !code) note(call, 0, 0, path, "", 0);
    return code;
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int folder, const char *name, mode_t mode) {
    char path[PATH_MAX];
    int ours = locate(folder, name, path);
    if (ours && fails(MKDIR, path, 1, NULL)) return -1;
    int code = syscall(SYS_mkdirat, folder, name, mode);
    if (ours && !code) note(MKDIR, 0, 0, path, "", 0);
    return code;
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }
