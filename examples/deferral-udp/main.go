// SPDX-License-Identifier: Apache-2.0

// Deferral-udp is a UDP packet loop whose routing table is replaced a thousand
// times per second, without stopping, locking or interrupting the loop.
//
// One thread polls a socket and looks up a route for each packet. Another part
// of the program computes new tables and publishes them; the loop picks up the
// newest one between two packets. At the end the loop is asked to stop in the
// same way. Every route carries the number of its table, so that a lookup in a
// half-written table would be noticed.
//
//	GODEBUG=asyncpreemptoff=1 go run ./examples/deferral-udp -for 5s
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/deferral"
)

func main() {
	o := options{}
	flag.DurationVar(&o.length, "for", 5*time.Second, "how long to run")
	flag.IntVar(&o.swaps, "swaps", 1000, "new tables per second")
	flag.IntVar(&o.cpu, "cpu", -1, "CPU for the packet loop; -1: any")
	flag.Parse()
	if err := deferral.CheckRuntime(); err != nil {
		fmt.Fprintln(os.Stderr, "note:", err)
	}
	r, err := run(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "deferral-udp:", err)
		os.Exit(1)
	}
	fmt.Println(r)
}

type options struct {
	length time.Duration
	swaps  int
	cpu    int
}

// table maps every destination to a next hop.
type table struct {
	Number uint64
	Routes [1024]route
}

type route struct {
	Hop    uint32
	Number uint32 // of the table that it belongs to
}

// The kinds of work that the loop is posted.
const stop deferral.Kind = 0

type report struct {
	Packets, Missed, Torn   uint64
	Published, Seen         uint64
	Preempted               int64 // involuntary context switches of the loop
	LastPublished, LastSeen uint64
}

func (r report) String() string {
	return fmt.Sprintf("%d packets routed, %d lookups missed, %d torn; %d tables published, %d seen; loop preempted %d times",
		r.Packets, r.Missed, r.Torn, r.Published, r.Seen, r.Preempted)
}

func run(o options) (report, error) {
	d, err := deferral.Create(deferral.Options{Cells: 1, CellSize: int(unsafe.Sizeof(table{})), Name: "routes"})
	if err != nil {
		return report{}, err
	}
	defer d.Close()
	routes, err := deferral.NewCell[table](d, 0)
	if err != nil {
		return report{}, err
	}
	fd, address, err := listen()
	if err != nil {
		return report{}, err
	}
	defer unix.Close(fd)
	if _, err := routes.Publish(0, newTable(1)); err != nil {
		return report{}, err
	}
	// The loop has a processor of the Go scheduler for itself; the sender and
	// the publisher must not wait for each other's.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(4, runtime.GOMAXPROCS(0))))
	l := loop{domain: d, routes: routes, fd: fd, cpu: o.cpu}
	return l.beside(o, address)
}

// beside runs the loop together with what sends packets and tables.
func (l *loop) beside(o options, address *net.UDPAddr) (report, error) {
	ctx, cancel := context.WithTimeout(context.Background(), o.length)
	defer cancel()
	var loopErr, sendErr, publishErr error
	var published uint64
	var all, senders sync.WaitGroup
	all.Go(func() { loopErr = l.run() })
	senders.Go(func() { sendErr = send(ctx, address) })
	senders.Go(func() { published, publishErr = l.publish(ctx, o.swaps) })
	senders.Wait()
	_, postErr := l.domain.Post(0, stop)
	all.Wait()
	r := l.report
	r.Published, r.LastPublished = published, published
	return r, errors.Join(loopErr, sendErr, publishErr, postErr)
}

func newTable(number uint64) table {
	t := table{Number: number}
	for i := range t.Routes {
		t.Routes[i] = route{Hop: rand.Uint32()%16 + 1, Number: uint32(number)}
	}
	return t
}

func (l *loop) publish(ctx context.Context, perSecond int) (uint64, error) {
	due := time.Now()
	for number := uint64(2); ; number++ {
		due = due.Add(time.Second / time.Duration(perSecond))
		time.Sleep(time.Until(due))
		if ctx.Err() != nil {
			return number - 1, nil
		}
		if _, err := l.routes.Publish(0, newTable(number)); err != nil {
			return number - 1, err
		}
	}
}

// loop is the busy thread.
type loop struct {
	domain *deferral.Domain
	routes deferral.Cell[table]
	fd     int
	cpu    int
	report report
	hops   [17]uint64
}

func (l *loop) run() error {
	runtime.LockOSThread()
	if l.cpu >= 0 {
		defer runtime.LockOSThread() // never unlocked: the thread ends with its affinity
		set := unix.NewCPUSet(l.cpu + 1)
		set.Set(l.cpu)
		if err := unix.SchedSetaffinityDynamic(0, set); err != nil {
			return fmt.Errorf("moving the loop to CPU %d: %w", l.cpu, err)
		}
	} else {
		defer runtime.UnlockOSThread()
	}
	slot, err := l.domain.Attach(0)
	if err != nil {
		return err
	}
	stopped := false
	err = errors.Join(
		slot.HandleKind(stop, func() { stopped = true }),
		slot.HandleCell(0, func([]byte) { l.report.Seen++ }),
	)
	if err != nil {
		return err
	}
	before := preemptions()
	packet := make([]byte, 2048)
	slot.Enter()
	for !stopped {
		if slot.Poll() {
			slot.CatchUp()
		}
		if n, err := unix.Read(l.fd, packet); err == nil {
			l.forward(l.routes.View(slot), packet[:n])
		}
	}
	if t := l.routes.View(slot); t != nil {
		l.report.LastSeen = t.Number
	}
	slot.Exit()
	l.report.Preempted = preemptions() - before
	return slot.Detach()
}

// forward looks up a packet's route; a real loop would send it on.
func (l *loop) forward(t *table, packet []byte) {
	l.report.Packets++
	if t == nil || len(packet) < 2 {
		l.report.Missed++
		return
	}
	r := t.Routes[(int(packet[0])<<8|int(packet[1]))%len(t.Routes)]
	if r.Hop == 0 {
		l.report.Missed++
	}
	if r.Number != uint32(t.Number) {
		l.report.Torn++
	}
	l.hops[r.Hop%17]++
}

func preemptions() int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		return 0
	}
	return int64(u.Nivcsw)
}

func listen() (int, *net.UDPAddr, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, nil, fmt.Errorf("opening a socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		unix.Close(fd)
		return -1, nil, fmt.Errorf("binding to the loopback address: %w", err)
	}
	name, err := unix.Getsockname(fd)
	bound, ok := name.(*unix.SockaddrInet4)
	if err != nil || !ok {
		unix.Close(fd)
		return -1, nil, fmt.Errorf("reading the address of the socket: %w", err)
	}
	return fd, &net.UDPAddr{IP: net.IP(bound.Addr[:]), Port: bound.Port}, nil
}

// send sends packets to random destinations.
func send(ctx context.Context, to *net.UDPAddr) error {
	c, err := net.DialUDP("udp4", nil, to)
	if err != nil {
		return fmt.Errorf("connecting to the loop: %w", err)
	}
	defer c.Close()
	packet := make([]byte, 64)
	for n := 1; ctx.Err() == nil; n++ {
		if n%64 == 0 {
			time.Sleep(50 * time.Microsecond) // about half of a CPU for the others
		}
		r := rand.Uint32()
		packet[0], packet[1] = byte(r), byte(r>>8)
		if _, err := c.Write(packet); err != nil && ctx.Err() == nil {
			return fmt.Errorf("sending a packet: %w", err)
		}
	}
	return nil
}
