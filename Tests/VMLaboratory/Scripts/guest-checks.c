/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether the devices of the guest work, and what keeps one from being stopped. One static program, two names:
 *
 *   device-check        one line "PLACE WHAT ANSWER" for every memory BAR that has an address and for every disk, where
 *                       PLACE is the function's place in the tree (0000:00:02.0/00.0/01.0). A BAR that is memory is
 *                       written and read back, a test device is asked for the name of its first test, a disk is read:
 *                       ok or bad. Of another BAR the first word is read: answers or silent.
 *   hold-vfio ADDRESS SECONDS
 *                       opens the function through vfio-pci, says "held", and lets go after the time;
 *                       until then the driver's unbinding hangs in the kernel
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static const char devices[] = "/sys/bus/pci/devices";

/* The place in the tree: bus numbers left out below the root bus. */
static void place_of(const char *name, char *place, size_t room)
{
    char link[PATH_MAX], path[PATH_MAX];
    unsigned domain, bus, device, function;
    size_t length = 0;

    snprintf(link, sizeof link, "%s/%s", devices, name);
    place[0] = 0;
    if (!realpath(link, path))
        return;
    for (char *part = strtok(path, "/"); part; part = strtok(NULL, "/")) {
        if (sscanf(part, "%x:%x:%x.%x", &domain, &bus, &device, &function) != 4)
            continue;
        length += (size_t)(length ? snprintf(place + length, room - length, "/%02x.%x", device, function)
                                  : snprintf(place, room, "%04x:%02x:%02x.%x", domain, bus, device, function));
    }
}

static unsigned hex_file(const char *name, const char *attribute)
{
    char path[512];
    unsigned value = 0;
    FILE *file;

    snprintf(path, sizeof path, "%s/%s/%s", devices, name, attribute);
    file = fopen(path, "r");
    if (file) {
        if (fscanf(file, "%x", &value) != 1)
            value = 0;
        fclose(file);
    }
    return value;
}

/* ivshmem's BAR 2 is memory. */
static int is_memory(const char *name, int bar)
{
    return bar == 2 && hex_file(name, "vendor") == 0x1af4 && hex_file(name, "device") == 0x1110;
}

static int is_test_device(const char *name, int bar)
{
    return bar == 0 && hex_file(name, "vendor") == 0x1b36 && hex_file(name, "device") == 0x0005;
}

/* Byte 0 of a test device selects a test, whose name stands at byte 16. */
static int names_its_test(volatile uint8_t *map)
{
    static const char name[] = "mmio-";

    map[0] = 0xff;
    map[0] = 0;
    for (size_t i = 0; name[i]; i++)
        if (map[16 + i] != (uint8_t)name[i])
            return 0;
    return 1;
}

static void check_bar(const char *name, const char *place, int bar, unsigned long long size)
{
    char path[512];
    volatile uint32_t *map;
    long page = sysconf(_SC_PAGESIZE);
    int memory = is_memory(name, bar);
    /* Not at the start: the window has to be open further on. resource_alignment lets a BAR look larger than it is. */
    off_t at = memory && size >= 1 << 20 ? (1 << 20) - page : 0;
    const char *found;
    int file;

    snprintf(path, sizeof path, "%s/%s/resource%d", devices, name, bar);
    file = open(path, O_RDWR | O_SYNC);
    map = file < 0 ? MAP_FAILED : mmap(NULL, (size_t)page, PROT_READ | PROT_WRITE, MAP_SHARED, file, at);
    if (map == MAP_FAILED) {
        /* A driver has it for itself. */
        found = strerror(errno);
    } else if (memory) {
        uint32_t pattern = 0x5aa50000u ^ map[page / 4 - 1] ^ (uint32_t)getpid();

        map[page / 4 - 1] = pattern;
        found = map[page / 4 - 1] == pattern ? "ok" : "bad";
    } else if (is_test_device(name, bar)) {
        found = names_its_test((volatile uint8_t *)map) ? "ok" : "bad";
    } else {
        found = map[0] == 0xffffffffu ? "silent" : "answers";
    }
    printf("%s bar%d %s\n", place, bar, found);
    if (map != MAP_FAILED)
        munmap((void *)map, (size_t)page);
    if (file >= 0)
        close(file);
}

/* A disk appears some time after its controller's driver has started. */
static void check_disk(const char *name, const char *place)
{
    char pattern[512];
    const char *found = "bad";

    snprintf(pattern, sizeof pattern, "%s/%s/nvme/nvme*", devices, name);
    for (int tries = 0; tries < 100; tries++) {
        glob_t names;
        char inner[600];

        snprintf(inner, sizeof inner, "%s/nvme*n1", pattern);
        if (glob(inner, 0, NULL, &names) == 0) {
            char node[64];
            static char block[4096] __attribute__((aligned(4096)));
            int file;

            snprintf(node, sizeof node, "/dev/%s", strrchr(names.gl_pathv[0], '/') + 1);
            file = open(node, O_RDONLY | O_DIRECT);
            if (file >= 0) {
                if (read(file, block, sizeof block) == (ssize_t)sizeof block)
                    found = "ok";
                close(file);
            }
            globfree(&names);
        }
        if (!strcmp(found, "ok"))
            break;
        usleep(50000);
    }
    printf("%s disk %s\n", place, found);
}

static int check(void)
{
    struct dirent **names;
    int count = scandir(devices, &names, NULL, alphasort);

    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        char path[512], line[256], place[512], driver[256] = "";
        int index = 0, has_driver;
        FILE *file;

        if (name[0] == '.')
            continue;
        place_of(name, place, sizeof place);
        snprintf(path, sizeof path, "%s/%s/driver", devices, name);
        has_driver = readlink(path, driver, sizeof driver - 1) > 0;
        snprintf(path, sizeof path, "%s/%s/resource", devices, name);
        file = fopen(path, "r");
        while (file && index < 6 && fgets(line, sizeof line, file)) {
            unsigned long long start, end, flags;

            if (sscanf(line, "%llx %llx %llx", &start, &end, &flags) == 3 && start && end > start && (flags & 0x200))
                check_bar(name, place, index, end - start + 1);
            index++;
        }
        if (file)
            fclose(file);
        if (has_driver && !strcmp(strrchr(driver, '/') ? strrchr(driver, '/') + 1 : driver, "nvme"))
            check_disk(name, place);
    }
    return 0;
}

/* vfio-pci */

static void write_text(const char *path, const char *text)
{
    int file = open(path, O_WRONLY);

    if (file < 0 || write(file, text, strlen(text)) < 0)
        fprintf(stderr, "hold-vfio: %s: %s\n", path, strerror(errno));
    if (file >= 0)
        close(file);
}

static int hold(const char *address, int seconds)
{
    char path[512], link[512] = "";
    int container, group, device;
    const char *number;

    snprintf(path, sizeof path, "%s/%s/driver_override", devices, address);
    write_text(path, "vfio-pci");
    write_text("/sys/bus/pci/drivers_probe", address);
    snprintf(path, sizeof path, "%s/%s/iommu_group", devices, address);
    if (readlink(path, link, sizeof link - 1) < 0) {
        perror("hold-vfio: iommu_group");
        return 1;
    }
    number = strrchr(link, '/') + 1;
    snprintf(path, sizeof path, "/dev/vfio/%s", number);
    container = open("/dev/vfio/vfio", O_RDWR);
    group = open(path, O_RDWR);
    if (container < 0 || group < 0 || ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
        ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU)) {
        perror("hold-vfio: group");
        return 1;
    }
    device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, address);
    if (device < 0) {
        perror("hold-vfio: device");
        return 1;
    }
    puts("held");
    fflush(stdout);
    sleep((unsigned)seconds);
    return 0;
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');

    if (!strcmp(slash ? slash + 1 : argv[0], "hold-vfio") && argc == 3)
        return hold(argv[1], atoi(argv[2]));
    return check();
}
