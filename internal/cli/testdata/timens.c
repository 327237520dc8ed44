// SPDX-License-Identifier: BSD-2-Clause

// timens SECONDS COMMAND...: runs a command in a time namespace whose CLOCK_MONOTONIC and CLOCK_BOOTTIME are so much ahead. Before Linux 6.3
// fork alone enters it, and fork of Go is vfork, which does not.

#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

int main(int argc, char **argv)
{
	FILE *offsets;
	int status;
	pid_t pid;

	if (argc < 3 || unshare(CLONE_NEWTIME) < 0 || !(offsets = fopen("/proc/self/timens_offsets", "w")) ||
	    fprintf(offsets, "monotonic %s 0\nboottime %s 0\n", argv[1], argv[1]) < 0 || fclose(offsets)) {
		perror("timens: making a time namespace");
		return 125;
	}
	pid = fork();
	if (pid == 0) {
		execvp(argv[2], argv + 2);
		perror("timens: running the command");
		_exit(127);
	}
	if (waitpid(pid, &status, 0) < 0)
		return 125;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
