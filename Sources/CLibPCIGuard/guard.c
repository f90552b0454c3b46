/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "CLibPCIGuard.h"

#include <pci/pci.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>

/*
 * The operation that runs on this thread. The callbacks of libpci get no context, so it has to be found this way; the
 * pointer is set for the duration of one call and restored before it returns.
 */
struct frame {
    jmp_buf target;
    char *error;
    size_t error_size;
    char *warning;
    size_t warning_size;
    int warned;
};

static _Thread_local struct frame *current;

static void say(char *to, size_t size, const char *format, va_list arguments)
{
    if (to && size)
        vsnprintf(to, size, format, arguments);
}

static void __attribute__((noreturn)) on_error(char *format, ...)
{
    va_list arguments;

    if (!current) /* libpci was called outside of an operation: a defect of this file. */
        abort();
    va_start(arguments, format);
    say(current->error, current->error_size, format, arguments);
    va_end(arguments);
    longjmp(current->target, 1);
}

static void on_warning(char *format, ...)
{
    va_list arguments;

    if (!current)
        return;
    va_start(arguments, format);
    say(current->warning, current->warning_size, format, arguments);
    va_end(arguments);
    current->warned = 1;
}

static void on_debug(char *format, ...)
{
    (void)format;
}

/* True in the guarded part of an operation, false after a fatal error. */
#define GUARDED(f) (setjmp((f).target) == 0)

/*
 * An access with our callbacks. Names are looked up by pci_guard_name alone, and never over DNS or in udev's database.
 */
static struct pci_access *new_access(unsigned int method)
{
    struct pci_access *access = pci_alloc();

    access->method = method;
    access->error = on_error;
    access->warning = on_warning;
    access->debug = on_debug;
    access->id_lookup_mode = 0;
    return access;
}

/* pci_cleanup under a guard of its own: whatever it thinks of the state, it comes back. */
static void drop_access(struct pci_access *access)
{
    struct frame *outer = current;
    struct frame frame = {.error = NULL};

    if (!access)
        return;
    current = &frame;
    if (GUARDED(frame))
        pci_cleanup(access);
    current = outer;
}

static int set_param(struct pci_access *access, const char *name, const char *value)
{
    /* libpci copies both; its prototype merely lacks the const. */
    return pci_set_param(access, (char *)name, (char *)value);
}

/* Room for one more function with `limit` bytes behind it; 0, or -1 without memory. */
static int reserve(struct pci_guard_table *table, size_t *capacity, size_t *byte_capacity, size_t limit)
{
    if (table->function_count == *capacity) {
        size_t wanted = *capacity ? *capacity * 2 : 64;
        void *grown = realloc(table->functions, wanted * sizeof(*table->functions));
        if (!grown)
            return -1;
        table->functions = grown;
        *capacity = wanted;
    }
    if (*byte_capacity - table->byte_count < limit) {
        size_t wanted = (*byte_capacity ? *byte_capacity * 2 : 65536) + limit;
        void *grown = realloc(table->bytes, wanted);
        if (!grown)
            return -1;
        table->bytes = grown;
        *byte_capacity = wanted;
    }
    return 0;
}

/* Reads as much as the function gives, in the steps that the kernel knows: 64, 256, 4096. */
static uint32_t read_steps(struct pci_dev *device, uint8_t *to, uint32_t limit)
{
    static const uint32_t steps[] = {64, 256, 4096};
    uint32_t have = 0;

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && steps[i] <= limit; i++) {
        if (!pci_read_block(device, (int)have, to + have, (int)(steps[i] - have)))
            break;
        have = steps[i];
    }
    return have;
}

static void begin(struct pci_guard_table *table, struct frame *frame)
{
    memset(table, 0, sizeof(*table));
    memset(frame, 0, sizeof(*frame));
    frame->error = table->error;
    frame->error_size = sizeof(table->error);
    frame->warning = table->warning;
    frame->warning_size = sizeof(table->warning);
}

static int finish(struct pci_guard_table *table, struct frame *outer, struct pci_access *access, int result)
{
    drop_access(access);
    current = outer;
    if (result) {
        free(table->functions);
        free(table->bytes);
        table->functions = NULL;
        table->bytes = NULL;
        table->function_count = 0;
        table->byte_count = 0;
    }
    return result;
}

int pci_guard_read_sysfs(const char *sysfs_path, const struct pci_guard_address *addresses, size_t address_count,
                         uint32_t limit, struct pci_guard_table *table)
{
    struct frame *outer = current;
    struct frame frame;
    /* Changed between setjmp and longjmp, so volatile; the table itself is memory of the caller. */
    struct pci_access *volatile access = NULL;
    struct pci_dev *volatile device = NULL;
    volatile int result = -1;
    size_t capacity = 0, byte_capacity = 0;

    begin(table, &frame);
    current = &frame;
    if (GUARDED(frame)) {
        access = new_access(PCI_ACCESS_SYS_BUS_PCI);
        if (sysfs_path && set_param(access, "sysfs.path", sysfs_path))
            on_error("libpci knows no parameter sysfs.path");
        pci_init(access);
        /*
         * No pci_scan_bus: the caller has listed the directory already, and libpci leaves its directory handle open
         * when an entry does not parse.
         */
        for (size_t i = 0; i < address_count; i++) {
            struct pci_guard_function *function;
            struct pci_guard_address at = addresses[i];

            if (reserve(table, &capacity, &byte_capacity, 4096))
                on_error("no memory for %zu functions", address_count);
            function = &table->functions[table->function_count++];
            function->address = at;
            function->offset = (uint32_t)table->byte_count;
            frame.warned = 0;
            device = pci_get_dev(access, (int)at.segment, at.bus, at.devfn >> 3, at.devfn & 7);
            function->count = read_steps(device, table->bytes + table->byte_count, limit);
            pci_free_dev(device);
            device = NULL;
            function->warned = (uint8_t)frame.warned;
            table->byte_count += function->count;
        }
        result = 0;
    } else if (device) {
        pci_free_dev(device);
    }
    return finish(table, outer, access, result);
}

int pci_guard_read_dump(const char *dump_path, struct pci_guard_table *table)
{
    struct frame *outer = current;
    struct frame frame;
    struct pci_access *volatile access = NULL;
    volatile int result = -1;
    size_t capacity = 0, byte_capacity = 0;

    begin(table, &frame);
    current = &frame;
    if (GUARDED(frame)) {
        access = new_access(PCI_ACCESS_DUMP);
        if (set_param(access, "dump.name", dump_path))
            on_error("libpci knows no parameter dump.name");
        pci_init(access);
        pci_scan_bus(access);
        for (struct pci_dev *device = access->devices; device; device = device->next) {
            struct pci_guard_function *function;

            if (reserve(table, &capacity, &byte_capacity, 4096))
                on_error("no memory for the functions of the dump");
            function = &table->functions[table->function_count++];
            function->address.segment = (uint32_t)device->domain;
            function->address.bus = device->bus;
            function->address.devfn = (uint8_t)(device->dev << 3 | (device->func & 7));
            function->offset = (uint32_t)table->byte_count;
            function->count = read_steps(device, table->bytes + table->byte_count, 4096);
            function->warned = 0;
            table->byte_count += function->count;
        }
        result = 0;
    }
    return finish(table, outer, access, result);
}

void pci_guard_release(struct pci_guard_table *table)
{
    free(table->functions);
    free(table->bytes);
    memset(table, 0, sizeof(*table));
}

struct pci_guard_access {
    struct pci_access *access;
    struct pci_dev *device;
};

struct pci_guard_access *pci_guard_open(const char *sysfs_path, char *error, size_t error_size)
{
    struct frame *outer = current;
    struct frame frame = {.error = error, .error_size = error_size};
    struct pci_guard_access *volatile opened = calloc(1, sizeof(*opened));

    if (!opened) {
        snprintf(error, error_size, "no memory for an access");
        return NULL;
    }
    current = &frame;
    if (GUARDED(frame)) {
        opened->access = new_access(PCI_ACCESS_SYS_BUS_PCI);
        if (sysfs_path && set_param(opened->access, "sysfs.path", sysfs_path))
            on_error("libpci knows no parameter sysfs.path");
        opened->access->writeable = 1;
        pci_init(opened->access);
    } else {
        drop_access(opened->access);
        free(opened);
        opened = NULL;
    }
    current = outer;
    return opened;
}

/* The device of `address`, kept for the next call; libpci keeps its configuration file open meanwhile. */
static struct pci_dev *device_at(struct pci_guard_access *access, struct pci_guard_address address)
{
    struct pci_dev *device = access->device;

    if (device && device->domain == (int)address.segment && device->bus == address.bus &&
        device->dev == address.devfn >> 3 && device->func == (address.devfn & 7))
        return device;
    access->device = NULL;
    if (device)
        pci_free_dev(device);
    access->device = pci_get_dev(access->access, (int)address.segment, address.bus, address.devfn >> 3,
                                 address.devfn & 7);
    return access->device;
}

int pci_guard_get(struct pci_guard_access *access, struct pci_guard_address address, uint32_t offset, uint32_t width,
                  uint32_t *value, char *error, size_t error_size)
{
    struct frame *outer = current;
    struct frame frame = {.error = error, .error_size = error_size, .warning = error, .warning_size = error_size};
    volatile int result = -1;

    current = &frame;
    if (GUARDED(frame)) {
        uint8_t bytes[4] = {0, 0, 0, 0};
        if (width > 4 || !pci_read_block(device_at(access, address), (int)offset, bytes, (int)width)) {
            if (!frame.warned)
                on_error("cannot read %u bytes at offset 0x%x", width, offset);
        } else {
            *value = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                     (uint32_t)bytes[3] << 24;
            result = 0;
        }
    }
    current = outer;
    return result;
}

int pci_guard_put(struct pci_guard_access *access, struct pci_guard_address address, uint32_t offset, uint32_t width,
                  uint32_t value, char *error, size_t error_size)
{
    struct frame *outer = current;
    struct frame frame = {.error = error, .error_size = error_size, .warning = error, .warning_size = error_size};
    volatile int result = -1;

    current = &frame;
    if (GUARDED(frame)) {
        uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};
        if (width > 4 || !pci_write_block(device_at(access, address), (int)offset, bytes, (int)width)) {
            if (!frame.warned)
                on_error("cannot write %u bytes at offset 0x%x", width, offset);
        } else {
            result = 0;
        }
    }
    current = outer;
    return result;
}

void pci_guard_close(struct pci_guard_access *access)
{
    struct frame *outer = current;
    struct frame frame = {.error = NULL};

    if (!access)
        return;
    current = &frame;
    if (GUARDED(frame) && access->device)
        pci_free_dev(access->device);
    drop_access(access->access);
    free(access);
    current = outer;
}

int pci_guard_kernel_log(int action, char *buffer, int size)
{
    return klogctl(action, buffer, size);
}

struct pci_guard_names {
    struct pci_access *access;
};

struct pci_guard_names *pci_guard_names_open(const char *path, char *error, size_t error_size)
{
    struct frame *outer = current;
    struct frame frame = {.error = error, .error_size = error_size};
    struct pci_guard_names *volatile opened = calloc(1, sizeof(*opened));

    if (!opened) {
        snprintf(error, error_size, "no memory for a list of names");
        return NULL;
    }
    current = &frame;
    if (GUARDED(frame)) {
        opened->access = new_access(PCI_ACCESS_AUTO);
        if (path) {
            char *copy = strdup(path);
            if (!copy)
                on_error("no memory for a path");
            pci_set_name_list_path(opened->access, copy, 1);
        }
        if (!pci_load_name_list(opened->access))
            on_error("there is no list of names");
    } else {
        drop_access(opened->access);
        free(opened);
        opened = NULL;
    }
    current = outer;
    return opened;
}

int pci_guard_name(struct pci_guard_names *names, uint16_t vendor, uint16_t device, char *text, size_t size)
{
    struct frame *outer = current;
    struct frame frame = {.error = NULL};
    volatile int found = 0;

    current = &frame;
    if (GUARDED(frame)) {
        int flags = PCI_LOOKUP_VENDOR | PCI_LOOKUP_NO_HWDB;

        if (pci_lookup_name(names->access, text, (int)size, flags | PCI_LOOKUP_NO_NUMBERS, vendor))
            found = pci_lookup_name(names->access, text, (int)size, flags | PCI_LOOKUP_DEVICE, vendor, device) == text;
    }
    current = outer;
    return found;
}

void pci_guard_names_close(struct pci_guard_names *names)
{
    if (!names)
        return;
    drop_access(names->access);
    free(names);
}
