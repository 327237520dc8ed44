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
	realTime := flag.Bool("rt", false, "also get a real-time kernel, which has the hwlat and osnoise tracers")
	programs := flag.String("unpack", "", "`PACKAGES` of Debian, separated by spaces, to unpack with all they need")
	suite := flag.String("suite", "trixie", "`RELEASE` to take them from")
	flag.Parse()
	var also []string
	if *realTime {
		also = []string{debian.RealTime}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	if err := setUp(ctx, *maxAge, also, *suite, strings.Fields(*programs)); err != nil {
		fmt.Fprintln(os.Stderr, "vmsetup:", err)
		os.Exit(1)
	}
}

func setUp(ctx context.Context, maxAge time.Duration, also []string, suite string, programs []string) error {
	dir, err := debian.CacheDir()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	m, err := debian.Setup(ctx, dir, maxAge, log, also...)
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
	for _, name := range append(debian.Suites(), also...) {
		if kernel, ok := m.Kernels[name]; ok {
			fmt.Printf("%-16s %s\n", kernel.Name(), m.Path(kernel.Image))
			continue
		}
		err = fmt.Errorf("no kernel of %s: %s", name, m.Missing[name])
		fmt.Fprintln(os.Stderr, "vmsetup:", err)
	}
	fmt.Printf("%-16s %s\n", "qemu", m.Path(m.QEMU.Root))
	return err
}
