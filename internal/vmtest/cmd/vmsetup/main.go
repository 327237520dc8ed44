// SPDX-License-Identifier: Apache-2.0

// Vmsetup downloads the kernels and the QEMU that tests in virtual machines need into a cache. It installs nothing and
// needs no privileges; run again, it only downloads what has changed. With -unpack it also unpacks programs for a guest,
// and writes only the directory that holds them.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/taskiso/taskiso/internal/vmtest/debian"
)

func main() {
	maxAge := flag.Duration("max-age", 24*time.Hour, "ask the archive again if the last answer is older; 0: always")
	timeout := flag.Duration("timeout", 20*time.Minute, "give up after this time")
	programs := flag.String("unpack", "", "`PACKAGES` of Debian, separated by spaces, to unpack with all they need")
	suite := flag.String("suite", "trixie", "`RELEASE` to take them from")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	if err := setUp(ctx, *maxAge, *suite, strings.Fields(*programs)); err != nil {
		fmt.Fprintln(os.Stderr, "vmsetup:", err)
		os.Exit(1)
	}
}

func setUp(ctx context.Context, maxAge time.Duration, suite string, programs []string) error {
	dir, err := debian.CacheDir()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	m, err := debian.Setup(ctx, dir, maxAge, log)
	if err != nil {
		return err
	}
	if len(programs) > 0 {
		root, err := m.Programs(ctx, suite, log, programs...)
		if err != nil {
			return err
		}
		fmt.Println(root)
		return nil
	}
	for _, row := range debian.Rows() {
		if kernel, ok := m.Kernels[row.Name]; ok {
			fmt.Printf("%-16s %s\n", kernel.Name(), m.Path(kernel.Image))
		}
	}
	fmt.Printf("%-16s %s\n", "qemu", m.Path(m.QEMU.Root))
	return m.Incomplete()
}
