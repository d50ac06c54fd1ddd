/* The least that the plugin `process` can do for one group with number, CPU, memory and open files: it lists the processes, reads
 * the state of each, and of those of the group the memory and the number of open files. One line a second, as of an agent.
 * benches/files.py measures it. The group has the processes of the name in the first argument.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char content[8192];

/* Reads a file of a process; returns its length. */
static ssize_t read_file(const char *pid, const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/%s/%s", pid, name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -1;
    ssize_t length = read(file, content, sizeof content - 1);
    close(file);
    content[length > 0 ? length : 0] = 0;
    return length;
}

/* The number after a key of the status. */
static long long number(const char *key)
{
    const char *found = strstr(content, key);
    return found ? atoll(found + strlen(key)) : 0;
}

int main(int count, char **arguments)
{
    if (count != 2)
        return 2;
    size_t name_length = strlen(arguments[1]);
    struct timespec due;
    clock_gettime(CLOCK_MONOTONIC, &due);
    for (;;) {
        long long processes = 0, members = 0, threads = 0, ticks = 0, resident = 0, swapped = 0, files = 0;
        DIR *directory = opendir("/proc");
        struct dirent *entry;
        while ((entry = readdir(directory))) {
            if (!isdigit((unsigned char)entry->d_name[0]) || read_file(entry->d_name, "stat") <= 0)
                continue;
            processes++;
            char *name = strchr(content, '('), *end = strrchr(content, ')');
            if (!name || !end || (size_t)(end - name - 1) != name_length || strncmp(name + 1, arguments[1], name_length))
                continue;
            long long user, system, of_process;
            sscanf(end + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lld %lld %*d %*d %*d %*d %lld", &user, &system,
                   &of_process);
            members++;
            ticks += user + system;
            threads += of_process;
            if (read_file(entry->d_name, "status") > 0) {
                resident += number("VmRSS:");
                swapped += number("VmSwap:");
            }
            char path[300];
            struct stat status;
            snprintf(path, sizeof path, "/proc/%s/fd", entry->d_name);
            if (stat(path, &status) == 0)
                files += status.st_size;
        }
        closedir(directory);
        char line[256];
        int length = snprintf(line, sizeof line, "%lld %lld %lld %lld %lld %lld %lld\n", processes, members, threads, ticks,
                              resident, swapped, files);
        if (write(1, line, length) != length)
            return 1;
        due.tv_sec++;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, 0);
    }
}
