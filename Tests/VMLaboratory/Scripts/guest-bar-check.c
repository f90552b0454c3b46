// SPDX-License-Identifier: GPL-2.0-or-later
//
// bar-check: does every device answer where the kernel says it does? Reads and writes registers and memory through
// the BARs, not through sysfs alone.
//
// First every device that has memory of its own (ivshmem) gets a mark of its own at the beginning, in the middle and at
// the end; then all are read back, so that two devices at one address, or one that answers elsewhere, are noticed. Devices
// with registers are asked something that only they answer. Functions with a driver are left to their drivers, BARs without
// an address to whoever judges the tree.
//
// Prints one line for each function that can be asked: ADDRESS ok PLACE... or ADDRESS bad REASON. Ends with 1 when one is bad.

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEVICES "/sys/bus/pci/devices/"
#define MOST 512

struct range {
    unsigned long long start, end, flags;
};

struct function {
    char name[32];
    unsigned id;
    uint16_t command;
    struct range bars[6];
    int is_bound;
};

static struct function functions[MOST];
static int count;
static int bad;

static int open_file(const struct function *f, const char *name, int mode) {
    char path[256];
    snprintf(path, sizeof path, DEVICES "%s/%s", f->name, name);
    return open(path, mode);
}

static int read_function(struct function *f, const char *name) {
    unsigned char config[64];
    snprintf(f->name, sizeof f->name, "%s", name);
    int fd = open_file(f, "config", O_RDONLY);
    if (fd < 0 || pread(fd, config, 64, 0) != 64) return -1;
    close(fd);
    if ((config[14] & 0x7f) != 0) return -1;
    f->id = config[1] << 24 | config[0] << 16 | config[3] << 8 | config[2];
    f->command = config[5] << 8 | config[4];
    char path[256];
    snprintf(path, sizeof path, DEVICES "%s/resource", f->name);
    FILE *file = fopen(path, "r");
    if (!file) return -1;
    for (int i = 0; i < 6; i++)
        if (fscanf(file, "%llx %llx %llx", &f->bars[i].start, &f->bars[i].end, &f->bars[i].flags) != 3) break;
    fclose(file);
    snprintf(path, sizeof path, DEVICES "%s/driver", f->name);
    f->is_bound = access(path, F_OK) == 0;
    return 0;
}

static void set_command(const struct function *f, uint16_t value) {
    int fd = open_file(f, "config", O_RDWR);
    if (fd < 0 || pwrite(fd, &value, 2, 4) != 2) perror("config");
    close(fd);
}

static int is_placed(const struct function *f, int bar) { return f->bars[bar].start != 0 && f->bars[bar].flags != 0; }

static void complain(const struct function *f, const char *what) {
    printf("%s bad %s\n", f->name, what);
    bad = 1;
}

// A page of a memory BAR, or NULL.
static volatile unsigned char *map(const struct function *f, int bar, off_t offset) {
    char name[32];
    snprintf(name, sizeof name, "resource%d", bar);
    int fd = open_file(f, name, O_RDWR | O_SYNC);
    if (fd < 0) return NULL;
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
    close(fd);
    return at == MAP_FAILED ? NULL : at;
}

static void unmap(volatile unsigned char *at) { munmap((void *)at, 4096); }

static uint64_t mark(const struct function *f, int place) {
    uint64_t value = 0xcbf29ce484222325u + place;
    for (const char *c = f->name; *c; c++) value = (value ^ (unsigned char)*c) * 0x100000001b3u;
    return value;
}

static off_t place(const struct function *f, int which) {
    unsigned long long size = f->bars[2].end - f->bars[2].start + 1;
    return which == 0 ? 0 : which == 1 ? size / 2 & ~4095ull : size - 4096;
}

static void mark_memory(const struct function *f) {
    for (int i = 0; i < 3; i++) {
        volatile unsigned char *at = map(f, 2, place(f, i));
        if (!at) return;
        *(volatile uint64_t *)at = mark(f, i);
        unmap(at);
    }
}

static void check_memory(const struct function *f) {
    for (int i = 0; i < 3; i++) {
        volatile unsigned char *at = map(f, 2, place(f, i));
        if (!at) return complain(f, "BAR 2 cannot be mapped");
        uint64_t found = *(volatile uint64_t *)at;
        unmap(at);
        if (found != mark(f, i)) return complain(f, "BAR 2 holds another mark");
    }
    printf("%s ok BAR 2\n", f->name);
}

// A port of an I/O BAR through sysfs; -1 when it cannot be read.
static int port(const struct function *f, int bar, off_t offset, int value) {
    char name[32];
    snprintf(name, sizeof name, "resource%d", bar);
    int fd = open_file(f, name, O_RDWR);
    if (fd < 0) return -1;
    unsigned char byte = value;
    int result = value >= 0 ? pwrite(fd, &byte, 1, offset) == 1 ? 0 : -1 : pread(fd, &byte, 1, offset) == 1 ? byte : -1;
    close(fd);
    return result;
}

// The test device names the test that was chosen last: mmio… by a write through BAR 0, portio… by one through BAR 1.
static void check_test_device(const struct function *f) {
    volatile unsigned char *at = map(f, 0, 0);
    if (!at) return complain(f, "BAR 0 cannot be mapped");
    at[0] = 0;
    unsigned char by_memory = at[16];
    int has_ports = is_placed(f, 1);
    int by_port = 'p', seen = 'p';
    if (has_ports) {
        if (port(f, 1, 0, 0) < 0) return complain(f, "BAR 1 cannot be written");
        by_port = port(f, 1, 16, -1);
        seen = at[16];
    }
    unmap(at);
    if (by_memory != 'm') return complain(f, "BAR 0 does not name its test");
    if (by_port != 'p' || seen != 'p') return complain(f, "BAR 1 does not name its test");
    printf("%s ok BAR 0%s\n", f->name, has_ports ? ", BAR 1" : "");
}

// The educational device inverts what is written to its register at 4.
static void check_edu(const struct function *f) {
    volatile unsigned char *at = map(f, 0, 0);
    if (!at) return complain(f, "BAR 0 cannot be mapped");
    *(volatile uint32_t *)(at + 4) = 0x12345678;
    uint32_t found = *(volatile uint32_t *)(at + 4);
    unmap(at);
    if (found != ~0x12345678u) return complain(f, "BAR 0 does not invert");
    printf("%s ok BAR 0\n", f->name);
}

// A register of BAR 0 that reads neither all ones nor zero.
static void check_register(const struct function *f, int offset) {
    volatile unsigned char *at = map(f, 0, 0);
    if (!at) return complain(f, "BAR 0 cannot be mapped");
    uint32_t found = *(volatile uint32_t *)(at + offset);
    unmap(at);
    if (found == 0 || found == 0xffffffff) return complain(f, "BAR 0 does not answer");
    printf("%s ok BAR 0\n", f->name);
}

// A 16550 keeps what is written to its scratch register.
static void check_serial(const struct function *f) {
    if (port(f, 0, 7, 0x5a) < 0 || port(f, 0, 7, -1) != 0x5a) return complain(f, "BAR 0 keeps nothing");
    printf("%s ok BAR 0\n", f->name);
}

static void check(const struct function *f) {
    switch (f->id) {
    case 0x1af41110:
        if (is_placed(f, 2)) check_memory(f);
        break;
    case 0x1b360005:
        if (is_placed(f, 0)) check_test_device(f);
        break;
    case 0x123411e8:
        if (is_placed(f, 0)) check_edu(f);
        break;
    case 0x1b360010:
    case 0x808610d3:
        if (is_placed(f, 0)) check_register(f, 8);
        break;
    case 0x1b360002:
        if (is_placed(f, 0)) check_serial(f);
        break;
    default: break;
    }
}

int main(void) {
    DIR *directory = opendir(DEVICES);
    if (!directory) return 2;
    for (struct dirent *entry; (entry = readdir(directory)) && count < MOST;)
        if (entry->d_name[0] != '.' && read_function(&functions[count], entry->d_name) == 0) count++;
    closedir(directory);
    for (int i = 0; i < count; i++) {
        struct function *f = &functions[i];
        if (f->is_bound) continue;
        set_command(f, f->command | 3);
        if (f->id == 0x1af41110 && is_placed(f, 2)) mark_memory(f);
    }
    for (int i = 0; i < count; i++)
        if (!functions[i].is_bound) check(&functions[i]);
    for (int i = 0; i < count; i++)
        if (!functions[i].is_bound) set_command(&functions[i], functions[i].command);
    return bad;
}
