package supervisor

import (
	"context"
	"fmt"
	"os"
	"sync"

	"dunlin.dev/cluster/internal/process"
)

// component is one process of the cluster, which can be ended and started again.
type component struct {
	start startFunc
	stop  stopFunc
	child *process.Child
	// isGuest marks what runs against the others, and so has to end before them.
	isGuest bool
	// stopping is set while we end the process, whose end is then no surprise.
	stopping bool
}

// components are a cluster's processes by name, in the order of their start.
type components struct {
	// changing is held by whoever starts or ends a process, which takes a while;
	// mu only for a look.
	changing sync.Mutex
	mu       sync.Mutex
	names    []string
	byName   map[string]*component
}

func newComponents() *components {
	return &components{byName: map[string]*component{}}
}

type (
	startFunc = func(context.Context) (*process.Child, error)
	stopFunc  = func(child *process.Child, mode string) error
)

// add starts a process and keeps it under its name.
func (c *components) add(ctx context.Context, name string, start startFunc, stop stopFunc) error {
	return c.insert(ctx, name, &component{start: start, stop: stop})
}

// addGuest does the same with one that is ended before the others.
func (c *components) addGuest(ctx context.Context, name string, start startFunc, stop stopFunc) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	return c.insert(ctx, name, &component{start: start, stop: stop, isGuest: true})
}

func (c *components) insert(ctx context.Context, name string, added *component) error {
	child, err := added.start(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names = append(c.names, name)
	c.byName[name] = added
	c.watch(name, added, child)
	return nil
}

// watch says when a process ends that nobody ended, and lets the others go on:
// that is what a test of the crash wants, and a person gets to know.
func (c *components) watch(name string, component *component, child *process.Child) {
	component.child, component.stopping = child, false
	go func() {
		err := child.Err()
		c.mu.Lock()
		defer c.mu.Unlock()
		if !component.stopping {
			fmt.Fprintf(os.Stderr, "cluster: %s (pid %d) ended: %v; its log is %s\n", name, child.Pid, err, child.Log)
		}
	}()
}

func (c *components) get(name string) (*component, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if component, ok := c.byName[name]; ok {
		return component, nil
	}
	return nil, fmt.Errorf("nothing called %q runs here; there are %v", name, c.names)
}

// startOne starts a process again and returns its pid.
func (c *components) startOne(ctx context.Context, name string) (int, error) {
	c.changing.Lock()
	defer c.changing.Unlock()
	component, err := c.get(name)
	if err != nil {
		return 0, err
	}
	if component.child.Running() {
		return component.child.Pid, fmt.Errorf("%s runs already, as process %d", name, component.child.Pid)
	}
	child, err := component.start(ctx)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch(name, component, child)
	return child.Pid, nil
}

// stopOne ends a process and returns when it has ended; one that has ended
// already is all right.
func (c *components) stopOne(name, mode string) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	component, err := c.get(name)
	if err != nil {
		return err
	}
	c.mu.Lock()
	component.stopping = true
	c.mu.Unlock()
	return component.stop(component.child, mode)
}

// stopAll ends the guests, then everything else at once: nothing of that will be
// read again.
func (c *components) stopAll() {
	c.changing.Lock()
	defer c.changing.Unlock()
	for _, guests := range []bool{true, false} {
		var group sync.WaitGroup
		for _, component := range c.mark(guests) {
			group.Go(func() { _ = component.stop(component.child, "immediate") })
		}
		group.Wait()
	}
}

// mark returns the guests, or the others, marked as being stopped.
func (c *components) mark(guests bool) []*component {
	c.mu.Lock()
	defer c.mu.Unlock()
	var marked []*component
	for _, component := range c.byName {
		if component.isGuest == guests {
			component.stopping = true
			marked = append(marked, component)
		}
	}
	return marked
}

func (c *components) pids() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	pids := map[string]int{}
	for name, component := range c.byName {
		pids[name] = component.child.Pid
	}
	return pids
}
