/* The least that an agent can do for a sample: three reads of open files, a dozen numbers, one line a second on standard
 * output. Its processor time is the floor that SPECIFICATION.md compares the agent's with. To measure it:
 *
 *     gcc -O2 -static -o /tmp/floor benches/floor.c && benches/measure.py --seconds 20 --name floor -- /tmp/floor
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MODES = 8 };

static char content[16384];

static void read_file(int file)
{
    ssize_t length = pread(file, content, sizeof content - 1, 0);
    content[length > 0 ? length : 0] = 0;
}

/* The number after a key of /proc/meminfo. */
static long long number(const char *key)
{
    const char *found = strstr(content, key);
    return found ? atoll(found + strlen(key)) : -1;
}

int main(void)
{
    int stat = open("/proc/stat", O_RDONLY);
    int loadavg = open("/proc/loadavg", O_RDONLY);
    int meminfo = open("/proc/meminfo", O_RDONLY);
    unsigned long long before[MODES] = {0}, now[MODES];
    struct timespec due, wall;
    clock_gettime(CLOCK_MONOTONIC, &due);

    for (;;) {
        char line[1024];
        double load[3], passed[MODES], total = 0;

        read_file(stat);
        sscanf(content, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", now, now + 1, now + 2, now + 3, now + 4, now + 5,
               now + 6, now + 7);
        for (int mode = 0; mode < MODES; mode++) {
            passed[mode] = now[mode] - before[mode];
            total += passed[mode];
            before[mode] = now[mode];
        }
        if (total < 1)
            total = 1;
        read_file(loadavg);
        sscanf(content, "%lf %lf %lf", load, load + 1, load + 2);
        read_file(meminfo);

        clock_gettime(CLOCK_REALTIME, &wall);
        int length = snprintf(
            line, sizeof line,
            "{\"ts\":%ld.%03ld,\"cpu\":{\"user\":%.2f,\"nice\":%.2f,\"system\":%.2f,\"idle\":%.2f,\"iowait\":%.2f,"
            "\"steal\":%.2f},\"load\":[%.2f,%.2f,%.2f],\"memory\":{\"total\":%lld,\"available\":%lld,\"free\":%lld,"
            "\"buffers\":%lld,\"cached\":%lld},\"swap\":{\"total\":%lld,\"free\":%lld}}\n",
            (long)wall.tv_sec, wall.tv_nsec / 1000000, 100 * passed[0] / total, 100 * passed[1] / total,
            100 * passed[2] / total, 100 * passed[3] / total, 100 * passed[4] / total, 100 * passed[7] / total, load[0],
            load[1], load[2], number("MemTotal:"), number("MemAvailable:"), number("MemFree:"), number("Buffers:"),
            number("Cached:"), number("SwapTotal:"), number("SwapFree:"));
        if (write(1, line, length) != length)
            return 1;
        due.tv_sec++;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, 0);
    }
}
