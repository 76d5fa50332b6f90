/* Makes `getpgid` and `kill` of a group behave as on XNU (macOS): getpgid of a zombie fails with
   ESRCH, and kill(-pgid) fails with EPERM if all members are zombies. */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static int read_stat(long pid, char *state, int *group)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return -1;
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = '\0';
    char *end = strrchr(text, ')');
    return end != NULL && sscanf(end + 1, " %c %*d %d", state, group) == 2 ? 0 : -1;
}

pid_t getpgid(pid_t pid)
{
    char state;
    int group;
    if (pid != 0 && read_stat(pid, &state, &group) == 0 && state == 'Z') {
        errno = ESRCH;
        return -1;
    }
    return (pid_t)syscall(SYS_getpgid, pid);
}

int kill(pid_t pid, int sig)
{
    int members = 0, alive = 0;
    if (pid < -1 && sig >= 0 && sig <= 64) {
        DIR *proc = opendir("/proc");
        struct dirent *entry;
        while (proc != NULL && (entry = readdir(proc)) != NULL) {
            char state;
            int group;
            if (!isdigit((unsigned char)entry->d_name[0])
                || read_stat(atol(entry->d_name), &state, &group) != 0 || group != -pid)
                continue;
            members++;
            alive += state != 'Z';
        }
        if (proc != NULL)
            closedir(proc);
        if (members > 0 && alive == 0) {
            errno = EPERM;
            return -1;
        }
    }
    return (int)syscall(SYS_kill, pid, sig);
}
