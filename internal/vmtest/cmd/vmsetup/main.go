// SPDX-License-Identifier: Apache-2.0

// Vmsetup downloads the kernels and the QEMU that tests in virtual machines need into a cache. It installs nothing and
// needs no privileges; run again, it only downloads what has changed.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/taskiso/taskiso/internal/vmtest/debian"
)

func main() {
	maxAge := flag.Duration("max-age", 24*time.Hour, "ask the archive again if the last answer is older; 0: always")
	timeout := flag.Duration("timeout", 20*time.Minute, "give up after this time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	if err := setUp(ctx, *maxAge); err != nil {
		fmt.Fprintln(os.Stderr, "vmsetup:", err)
		os.Exit(1)
	}
}

func setUp(ctx context.Context, maxAge time.Duration) error {
	dir, err := debian.CacheDir()
	if err != nil {
		return err
	}
	m, err := debian.Setup(ctx, dir, maxAge, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	for _, suite := range debian.Suites() {
		if kernel, ok := m.Kernels[suite]; ok {
			fmt.Printf("%-16s %s\n", kernel.Name(), m.Path(kernel.Image))
			continue
		}
		err = fmt.Errorf("no kernel of %s: %s", suite, m.Missing[suite])
		fmt.Fprintln(os.Stderr, "vmsetup:", err)
	}
	fmt.Printf("%-16s %s\n", "qemu", m.Path(m.QEMU.Root))
	return err
}
