/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pci-record: the part of a record that a reading of the PCI tree needs, as a tar on standard output, in the shape of
 * sysfs and procfs. What `record` does in a second or two of an emulated machine this does in a tenth of it, so that a
 * test can read the machine anew before every step.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/stat.h>
#include <unistd.h>

static void padded(const void *content, size_t size)
{
	static const char zeros[512];

	fwrite(content, 1, size, stdout);
	if (size % 512)
		fwrite(zeros, 1, 512 - size % 512, stdout);
}

static void header(const char *path, char type, size_t size, const char *target);

/* A name or target that has no room in a header stands before it as a file of its own (GNU tar's form). */
static void long_name(const char *name, char type)
{
	header("././@LongLink", type, strlen(name) + 1, NULL);
	padded(name, strlen(name) + 1);
}

static void header(const char *path, char type, size_t size, const char *target)
{
	char block[512] = { 0 };
	const char *name = path[0] == '/' ? path + 1 : path;
	unsigned sum = 0;

	if (target && strlen(target) > 99)
		long_name(target, 'K');
	if (strlen(name) > 99)
		long_name(name, 'L');
	memcpy(block, name, strnlen(name, 99));
	memcpy(block + 100, "0000644", 7);
	memcpy(block + 108, "0000000", 7);
	memcpy(block + 116, "0000000", 7);
	snprintf(block + 124, 12, "%011zo", size);
	memcpy(block + 136, "00000000000", 11);
	memset(block + 148, ' ', 8);
	block[156] = type;
	if (target)
		memcpy(block + 157, target, strnlen(target, 99));
	memcpy(block + 257, "ustar  ", 8);
	for (size_t i = 0; i < sizeof(block); i++)
		sum += (unsigned char)block[i];
	snprintf(block + 148, 8, "%06o", sum);
	fwrite(block, 1, sizeof(block), stdout);
}

static void bytes(const char *path, const char *content, size_t size)
{
	header(path, '0', size, NULL);
	padded(content, size);
}

static void file(const char *path)
{
	static char content[1 << 18];
	size_t size = 0;
	int descriptor = open(path, O_RDONLY);

	if (descriptor < 0)
		return;
	while (size < sizeof(content)) {
		ssize_t got = read(descriptor, content + size, sizeof(content) - size);

		if (got <= 0)
			break;
		size += (size_t)got;
	}
	close(descriptor);
	bytes(path, content, size);
}

static void link_at(const char *path)
{
	char target[512];
	ssize_t length = readlink(path, target, sizeof(target) - 1);

	if (length < 0)
		return;
	target[length] = 0;
	header(path, '2', 0, target);
}

static int visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void function(const char *name)
{
	static const char *files[] = { "resource", "config", "vendor", "device", "class", "revision",
		"subsystem_vendor", "subsystem_device", "enable", "numa_node", "boot_vga", "sriov_totalvfs",
		"sriov_numvfs", "removable", "msi_bus" };
	static const char *links[] = { "driver", "physfn", "iommu_group" };
	char path[512], *directory;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", name);
	link_at(path);
	directory = realpath(path, NULL);
	if (!directory)
		return;
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, files[i]);
		file(path);
	}
	for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, links[i]);
		link_at(path);
	}
	free(directory);
}

static void each(const char *directory, void (*visit)(const char *))
{
	struct dirent **names;
	int count = scandir(directory, &names, visible, alphasort);

	for (int i = 0; i < count; i++) {
		char path[512];

		if (visit == function) {
			function(names[i]->d_name);
			continue;
		}
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]->d_name);
		visit(path);
	}
}

static void files_in(const char *directory)
{
	each(directory, file);
}

/* One line of a register dump, 16 bytes in hexadecimal after an offset; the digits go to `into`. */
static int dump_line(const char *line, const char *end, char *into)
{
	const char *at = memchr(line, ']', (size_t)(end - line));
	int digits = 0;

	if (!at || end - at < 12 || at[1] != ' ' || at[2] != '0' || at[10] != ':')
		return 0;
	for (at += 11; at < end && digits < 32; at++)
		if (*at != ' ')
			into[digits++] = *at;
	return digits == 32;
}

/*
 * The log, and apart from it the registers that `pci=earlydump` wrote into it: one function a line, its address and the
 * digits of 256 bytes; only the first dump of a function, which shows what the firmware left.
 */
static void log_lines(void)
{
	static char text[1 << 20], kept[1 << 20], dumps[1 << 18];
	int length = klogctl(3, text, sizeof(text) - 1);
	size_t size = 0, dumped = 0, start = 0;

	text[length < 0 ? 0 : length] = 0;
	for (char *line = text, *end; *line; line = end) {
		const char *space;

		end = strchr(line, '\n');
		end = end ? end + 1 : line + strlen(line);
		if (start && dumped + 64 < sizeof(dumps) && dump_line(line, end, dumps + dumped)) {
			dumped += 32;
			if (dumped - start == 13 + 512) {
				dumps[dumped++] = '\n';
				start = 0;
			}
			continue;
		}
		if (start)
			dumped = start;
		start = 0;
		space = memmem(line, (size_t)(end - line), ": config space:", 15);
		if (space && space - line > 12 && dumped + 600 < sizeof(dumps)) {
			char address[14];

			memcpy(address, space - 12, 12);
			address[12] = ' ';
			address[13] = 0;
			dumps[dumped] = 0;
			if (!strstr(dumps, address)) {
				start = dumped;
				memcpy(dumps + dumped, address, 13);
				dumped += 13;
				/* A dump at the very beginning starts at 0, which says "none" above. */
				if (!start) {
					memmove(dumps + 1, dumps, dumped);
					dumps[0] = '\n';
					start = 1;
					dumped++;
				}
			}
			continue;
		}
		memcpy(kept + size, line, (size_t)(end - line));
		size += (size_t)(end - line);
	}
	bytes("/dmesg.txt", kept, size);
	if (dumped)
		bytes("/firmware.txt", dumps, dumped);
}

int main(void)
{
	static const char zeros[1024];
	static char buffer[1 << 16];

	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	each("/sys/bus/pci/devices", function);
	each("/sys/class/pci_bus", link_at);
	each("/sys/firmware/memmap", files_in);
	file("/sys/bus/pci/resource_alignment");
	file("/proc/iomem");
	file("/proc/ioports");
	file("/proc/cmdline");
	file("/proc/bus/pci/devices");
	file("/proc/sys/kernel/osrelease");
	log_lines();
	fwrite(zeros, 1, sizeof(zeros), stdout);
	return fflush(stdout) ? 1 : 0;
}
