// SPDX-License-Identifier: Apache-2.0

// Package systemd asks the first process for slices. It speaks to systemd itself,
// as systemctl does for root: no bus daemon has to run.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/taskiso/taskiso/cpulist"
)

// Socket is where systemd listens, if it is the first process.
const Socket = "/run/systemd/private"

// callTime bounds a call, as systemd may be busy with other units.
const callTime = 25 * time.Second

// property is one of a unit, as D-Bus takes them.
type property struct {
	Name  string
	Value dbus.Variant
}

// unit is one more of the same call, which we never have.
type unit struct {
	Name       string
	Properties []property
}

// StartSlice makes a slice whose processes may use only cpus (AllowedCPUs=). It
// lasts until it is stopped, or the machine is. That it has its cgroup comes later.
func StartSlice(ctx context.Context, name, description string, cpus cpulist.Set) error {
	properties := []property{
		{"Description", dbus.MakeVariant(description)},
		{"AllowedCPUs", dbus.MakeVariant(bytesOf(cpus))},
	}
	err := call(ctx, "StartTransientUnit", name, "fail", properties, []unit{})
	if err != nil {
		return fmt.Errorf("asking systemd to start %s with AllowedCPUs=%v: %w", name, cpus, err)
	}
	return nil
}

// StopSlice ends a slice, with all units in it. One that systemd does not have is an
// error that matches [fs.ErrNotExist].
func StopSlice(ctx context.Context, name string) error {
	err := call(ctx, "StopUnit", name, "fail")
	var answer dbus.Error
	if errors.As(err, &answer) && answer.Name == "org.freedesktop.systemd1.NoSuchUnit" {
		err = fs.ErrNotExist
	}
	if err != nil {
		return fmt.Errorf("asking systemd to stop %s: %w", name, err)
	}
	return nil
}

func call(ctx context.Context, method string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	conn, err := dbus.Dial("unix:path="+Socket, dbus.WithContext(ctx))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))}); err != nil {
		return err
	}
	manager := conn.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
	return manager.CallWithContext(ctx, "org.freedesktop.systemd1.Manager."+method, 0, args...).Err
}

// bytesOf is a set as systemd takes it: CPU 0 is the lowest bit of the first byte.
func bytesOf(cpus cpulist.Set) []byte {
	last, _ := cpus.Last()
	bytes := make([]byte, last/8+1)
	for cpu := range cpus.All() {
		bytes[cpu/8] |= 1 << (cpu % 8)
	}
	return bytes
}

// SliceName returns the name of a slice below the root slice: a dash would mean
// another slice above it, and is written as systemd writes one that does not.
func SliceName(name string) string {
	return strings.ReplaceAll(name, "-", `\x2d`) + ".slice"
}
