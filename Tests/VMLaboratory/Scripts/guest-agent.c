/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's end of the laboratory's command channel, and what has to be quick in the guest. One static program, three
 * names:
 *
 *   guest-agent         serves commands; the guest's only long-lived process
 *   fingerprint         one line that changes while a hot-plug event is handled, and "busy PORT" for every port whose
 *                       power indicator blinks (PCIe Slot Control bits 9:8 = 10b: the driver is not done with the slot)
 *   pci-state [BYTES]   what the kernel shows of every function: resources, enable count, driver, BYTES of
 *                       configuration (64)
 *
 * The channel is two ISA devices, so that the PCI tree under test stays untouched. Requests come through the second
 * serial port, read by port instructions: no line discipline and no interrupt stands between, and QEMU hands over a byte
 * only when the port has room. Answers go out through QEMU's debug port, which waits until a byte is taken; a serial
 * port gives a byte up after some attempts.
 *
 * A request is one line "ID SECONDS SCRIPT-BYTES INPUT-BYTES CRC", then that many bytes of script and of its input; CRC
 * is the CRC-32 of both, as zlib has it. The answer is one line "ID STATUS STDOUT-BYTES STDERR-BYTES CRC", then those
 * bytes. A script that runs longer than SECONDS is killed with its whole session and answers with status 137.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/klog.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char devices[] = "/sys/bus/pci/devices";

/* The channel. */

enum { ANSWERS = 0xe9, REQUESTS = 0x2f8 };

static void pause_for(long microseconds)
{
	struct timespec time = { microseconds / 1000000, microseconds % 1000000 * 1000 };

	nanosleep(&time, NULL);
}

static void reap(void)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

static unsigned char next_byte(void)
{
	unsigned tries = 0;

	while (!(inb(REQUESTS + 5) & 1)) {
		if (++tries < 200)
			continue;
		reap();
		pause_for(tries < 2000 ? 200 : 2000);
	}
	return inb(REQUESTS);
}

static void answer(const void *bytes, size_t count)
{
	asm volatile("rep outsb" : "+S"(bytes), "+c"(count) : "d"(ANSWERS) : "memory");
}

static uint32_t table[256];

static uint32_t checksum(uint32_t sum, const unsigned char *bytes, size_t count)
{
	if (!table[1]) {
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t value = i;

			for (int bit = 0; bit < 8; bit++)
				value = value & 1 ? value >> 1 ^ 0xedb88320 : value >> 1;
			table[i] = value;
		}
	}
	sum = ~sum;
	while (count--)
		sum = sum >> 8 ^ table[(sum ^ *bytes++) & 0xff];
	return ~sum;
}

static void write_file(const char *path, const unsigned char *bytes, size_t count)
{
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	while (file >= 0 && count > 0) {
		ssize_t written = write(file, bytes, count);

		if (written <= 0)
			break;
		bytes += written;
		count -= (size_t)written;
	}
	if (file >= 0)
		close(file);
}

static unsigned char *read_file(const char *path, size_t *count)
{
	unsigned char *bytes = NULL;
	size_t room = 0;
	int file = open(path, O_RDONLY | O_CLOEXEC);

	*count = 0;
	while (file >= 0) {
		ssize_t got;

		if (*count + 65536 > room) {
			unsigned char *more = realloc(bytes, room = 2 * room + 65536);

			if (!more)
				break;
			bytes = more;
		}
		got = read(file, bytes + *count, 65536);
		if (got <= 0)
			break;
		*count += (size_t)got;
	}
	if (file >= 0)
		close(file);
	return bytes;
}

static void in_child(void)
{
	int input = open("/run/input", O_RDONLY);
	int output = open("/run/stdout", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	int errors = open("/run/stderr", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	setsid();
	dup2(input, 0);
	dup2(output, 1);
	dup2(errors, 2);
	for (int file = 3; file < 16; file++)
		close(file);
	execl("/bin/sh", "sh", "-c", ". /run/script", (char *)NULL);
	_exit(127);
}

/* Runs the script that stands in /run; all of its session is killed after the time. */
static int run(long seconds)
{
	struct timespec start, now;
	int status = 0;
	pid_t child = fork();

	if (child == 0)
		in_child();
	if (child < 0)
		return 126;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (long tries = 0;; tries++) {
		pid_t ended = waitpid(-1, &status, WNOHANG);

		if (ended == child)
			return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
		if (ended > 0)
			continue;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - start.tv_sec > seconds)
			break;
		pause_for(tries < 100 ? 500 : 5000);
	}
	kill(-child, SIGKILL);
	kill(child, SIGKILL);
	/* A child that hangs in the kernel cannot be waited for. */
	for (int tries = 0; tries < 200 && waitpid(child, &status, WNOHANG) != child; tries++)
		pause_for(10000);
	return 137;
}

static void serve(void)
{
	for (;;) {
		char line[128];
		size_t length = 0, script, input;
		long id, seconds;
		unsigned long sum;
		unsigned char *bytes, *output = NULL, *errors = NULL;
		size_t outputs = 0, complaints = 0;
		int status;

		while (length < sizeof(line) - 1 && (line[length] = (char)next_byte()) != '\n')
			length++;
		line[length] = 0;
		if (sscanf(line, "%ld %ld %zu %zu %lu", &id, &seconds, &script, &input, &sum) != 5)
			continue;
		bytes = malloc(script + input + 1);
		if (!bytes)
			continue;
		for (size_t i = 0; i < script + input; i++)
			bytes[i] = next_byte();
		if (checksum(0, bytes, script + input) != sum) {
			status = 255;
			errors = (unsigned char *)strdup("the request arrived damaged");
			complaints = errors ? strlen((char *)errors) : 0;
		} else {
			write_file("/run/script", bytes, script);
			write_file("/run/input", bytes + script, input);
			status = run(seconds);
			output = read_file("/run/stdout", &outputs);
			errors = read_file("/run/stderr", &complaints);
		}
		free(bytes);
		length = (size_t)snprintf(line, sizeof(line), "%ld %d %zu %zu %u\n", id, status, outputs, complaints,
					  checksum(checksum(0, output, outputs), errors, complaints));
		answer(line, length);
		answer(output, outputs);
		answer(errors, complaints);
		free(output);
		free(errors);
	}
}

static int agent(void)
{
	struct utsname name;
	char line[160], uptime[32] = "0";
	FILE *file = fopen("/proc/uptime", "r");
	int length;

	signal(SIGPIPE, SIG_IGN);
	if (iopl(3)) {
		fprintf(stderr, "guest-agent: expected access to ports, found: %s\n", strerror(errno));
		return 1;
	}
	/* Eight bits, FIFOs on and emptied, no interrupts, ready. */
	outb(0x03, REQUESTS + 3);
	outb(0xc7, REQUESTS + 2);
	outb(0x00, REQUESTS + 1);
	outb(0x0b, REQUESTS + 4);
	if (file && fscanf(file, "%31s", uptime) != 1)
		strcpy(uptime, "0");
	if (file)
		fclose(file);
	uname(&name);
	length = snprintf(line, sizeof(line), "READY %s %s\n", uptime, name.release);
	answer(line, (size_t)length);
	serve();
	return 0;
}

/* What the kernel shows. */

static ssize_t attribute(const char *function, const char *name, void *bytes, size_t room)
{
	char path[512];
	ssize_t count;
	int file;

	snprintf(path, sizeof(path), "%s/%s/%s", devices, function, name);
	file = open(path, O_RDONLY);
	if (file < 0)
		return -1;
	count = read(file, bytes, room);
	close(file);
	return count;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int state(size_t wanted)
{
	struct dirent **names;
	int count = scandir(devices, &names, NULL, by_name);

	for (int i = 0; i < count; i++) {
		const char *name = names[i]->d_name;
		char text[4096], path[512], driver[256] = "";
		unsigned char config[4096];
		ssize_t length;
		int index = 0;

		if (name[0] == '.')
			continue;
		length = attribute(name, "enable", text, sizeof(text) - 1);
		if (length < 0)
			continue;
		text[length > 0 ? length - 1 : 0] = 0;
		snprintf(path, sizeof(path), "%s/%s/driver", devices, name);
		length = readlink(path, driver, sizeof(driver) - 1);
		driver[length < 0 ? 0 : length] = 0;
		printf("= %s %s %s\n", name, text, length < 0 ? "-" : strrchr(driver, '/') + 1);
		length = attribute(name, "resource", text, sizeof(text) - 1);
		text[length < 0 ? 0 : length] = 0;
		for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), index++) {
			unsigned long long start, end, flags;

			if (sscanf(line, "%llx %llx %llx", &start, &end, &flags) == 3 && (start | end | flags))
				printf("r %d %llx %llx %llx\n", index, start, end, flags);
		}
		printf("n %d\nc ", index);
		length = attribute(name, "config", config, wanted < sizeof(config) ? wanted : sizeof(config));
		for (ssize_t at = 0; at < length; at++)
			printf("%02x", config[at]);
		putchar('\n');
	}
	return 0;
}

static uint64_t mixed(uint64_t hash, const void *bytes, size_t count)
{
	for (const unsigned char *at = bytes; count--; at++)
		hash = (hash ^ *at) * 0x100000001b3;
	return hash;
}

static int is_busy(const unsigned char *config, size_t count)
{
	unsigned pointer = config[0x34];

	for (int hops = 0; hops < 48 && pointer >= 0x40 && pointer + 28 <= count; hops++) {
		if (config[pointer] == 0x10)
			return config[pointer + 3] & 1 && (config[pointer + 0x19] & 3) == 2;
		pointer = config[pointer + 1];
	}
	return 0;
}

static int fingerprint(void)
{
	static char log[1 << 20];
	struct dirent **names;
	int count = scandir(devices, &names, NULL, by_name);
	uint64_t hash = 0xcbf29ce484222325;
	int length, lines = 0;

	for (int i = 0; i < count; i++) {
		const char *name = names[i]->d_name;
		unsigned char config[256];
		char text[4096];
		ssize_t got;

		if (name[0] == '.')
			continue;
		hash = mixed(hash, name, strlen(name));
		got = attribute(name, "resource", text, sizeof(text));
		if (got > 0)
			hash = mixed(hash, text, (size_t)got);
		got = attribute(name, "class", text, sizeof(text) - 1);
		text[got < 0 ? 0 : got] = 0;
		if (strncmp(text, "0x0604", 6))
			continue;
		got = attribute(name, "config", config, sizeof(config));
		if (got > 0x40 && is_busy(config, (size_t)got))
			printf("busy %s\n", name);
	}
	length = klogctl(3, log, sizeof(log));
	for (int i = 0; i < length; i++)
		lines += log[i] == '\n';
	printf("%016llx %d functions, %d lines of log\n", (unsigned long long)hash, count - 2, lines);
	return 0;
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	const char *name = slash ? slash + 1 : argv[0];

	if (!strcmp(name, "fingerprint"))
		return fingerprint();
	if (!strcmp(name, "pci-state"))
		return state(argc > 1 ? strtoul(argv[1], NULL, 0) : 64);
	return agent();
}
