/* Replaces some calls. The test sets these environment variables when it wants that:

   PIDWAIT_TEST_SLOW_KILL  `kill` of a group begins so many milliseconds late.
   PIDWAIT_TEST_SLOW_WAITID  The first `waitid` for one PID from then on ends so many milliseconds late.
   PIDWAIT_TEST_DENIED     The process with this PID may not be inspected: EACCES, as by SELinux.
   PIDWAIT_TEST_EACCES     Signals that fail with EPERM fail with EACCES, as by AppArmor.
   PIDWAIT_TEST_HIDDEN     The process with this PID is not in a list of /proc ...
   PIDWAIT_TEST_EXITS      ... until `getpgid` reaches this one, which is killed just then. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static long number(const char *name)
{
    const char *value = getenv(name);
    return value != NULL ? atol(value) : 0;
}

static int failed(int denied)
{
    if (denied)
        errno = EACCES;
    return -1;
}

long syscall(long call, ...)
{
    static long (*real)(long, ...);
    long a[6];
    va_list arguments;
    if (real == NULL)
        real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    va_start(arguments, call);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(arguments, long);
    va_end(arguments);
    long result = real(call, a[0], a[1], a[2], a[3], a[4], a[5]);
    static int was_slow;
    if (call == SYS_waitid && a[0] == P_PID && !was_slow) {
        int error = errno;
        was_slow = number("PIDWAIT_TEST_SLOW_WAITID") != 0;
        usleep(1000 * number("PIDWAIT_TEST_SLOW_WAITID"));
        errno = error;
    }
    if (call == SYS_pidfd_send_signal && result < 0 && errno == EPERM)
        return failed(number("PIDWAIT_TEST_EACCES") != 0);
    return result;
}

int kill(pid_t pid, int sig)
{
    static int (*real)(pid_t, int);
    if (real == NULL)
        real = (int (*)(pid_t, int))dlsym(RTLD_NEXT, "kill");
    if (pid < -1)
        usleep(1000 * number("PIDWAIT_TEST_SLOW_KILL"));
    int result = real(pid, sig);
    if (result < 0 && errno == EPERM)
        return failed(number("PIDWAIT_TEST_EACCES") != 0);
    return result;
}

pid_t getpgid(pid_t pid)
{
    static pid_t (*real)(pid_t);
    if (real == NULL)
        real = (pid_t (*)(pid_t))dlsym(RTLD_NEXT, "getpgid");
    if (pid != 0 && pid == number("PIDWAIT_TEST_DENIED"))
        return failed(1);
    if (pid != 0 && pid == number("PIDWAIT_TEST_EXITS")) {
        siginfo_t info;
        unsetenv("PIDWAIT_TEST_HIDDEN");
        unsetenv("PIDWAIT_TEST_EXITS");
        kill(pid, SIGKILL);
        waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
    }
    return real(pid);
}

static int is_denied(const char *path)
{
    char denied[64];
    snprintf(denied, sizeof denied, "/proc/%ld/stat", number("PIDWAIT_TEST_DENIED"));
    return strcmp(path, denied) == 0;
}

#define OPEN(name)                                                                  \
    int name(const char *path, int flags, ...)                                      \
    {                                                                               \
        static int (*real)(const char *, int, ...);                                 \
        va_list arguments;                                                          \
        if (real == NULL)                                                           \
            real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name);        \
        va_start(arguments, flags);                                                 \
        int mode = va_arg(arguments, int);                                          \
        va_end(arguments);                                                          \
        return is_denied(path) ? failed(1) : real(path, flags, mode);               \
    }

OPEN(open)
OPEN(open64)

#define READDIR(name, type)                                                         \
    struct type *name(DIR *dir)                                                     \
    {                                                                               \
        static struct type *(*real)(DIR *);                                         \
        if (real == NULL)                                                           \
            real = (struct type * (*)(DIR *)) dlsym(RTLD_NEXT, #name);              \
        struct type *entry = real(dir);                                             \
        while (entry != NULL && atol(entry->d_name) != 0                            \
               && atol(entry->d_name) == number("PIDWAIT_TEST_HIDDEN"))             \
            entry = real(dir);                                                      \
        return entry;                                                               \
    }

READDIR(readdir, dirent)
READDIR(readdir64, dirent64)
