// SPDX-License-Identifier: Apache-2.0

package deferral_test

import (
	"context"
	"fmt"
	"runtime"

	"github.com/taskiso/taskiso/deferral"
)

// A control loop gets new parameters and is stopped, without being interrupted.
func Example() {
	const stop deferral.Kind = 0
	type parameters struct{ Gain, Offset float64 }

	d, err := deferral.Create(deferral.Options{Cells: 1, CellSize: 64})
	if err != nil {
		panic(err)
	}
	defer d.Close()
	params, err := deferral.NewCell[parameters](d, 0)
	if err != nil {
		panic(err)
	}

	done := make(chan parameters)
	ready := make(chan bool)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		slot, err := d.Attach(0)
		if err != nil {
			panic(err)
		}
		stopped := false
		slot.HandleKind(stop, func() { stopped = true })
		slot.Enter()
		close(ready)
		for !stopped {
			if slot.Poll() {
				slot.CatchUp()
			}
			// one cycle of the loop, with parameters that do not change in it
		}
		last, _ := params.Load(slot)
		slot.Exit()
		slot.Detach()
		done <- last
	}()

	<-ready
	ticket, err := params.Publish(0, parameters{Gain: 2, Offset: 0.5})
	if err != nil {
		panic(err)
	}
	if err := ticket.Wait(context.Background()); err != nil {
		panic(err)
	}
	d.Post(0, stop)
	fmt.Println("the loop ended with", <-done)
	// Output: the loop ended with {2 0.5}
}

// A grace period: what is replaced can be freed when Synchronize returns.
func ExampleDomain_Synchronize() {
	d, err := deferral.Create(deferral.Options{Slots: 2})
	if err != nil {
		panic(err)
	}
	defer d.Close()
	slot, err := d.Attach(0)
	if err != nil {
		panic(err)
	}
	defer slot.Detach()

	// This owner is offline, and the other slot has none: nobody to wait for.
	fmt.Println(d.Synchronize(context.Background()))
	// Output: <nil>
}
