// Package folder keeps what one run puts on the disk and starts: it is one
// folder, locked by its run, with a list of the processes in it. Whoever finds
// it unlocked may end what the list still names, and remove it.
package folder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"dunlin.dev/cluster/internal/process"
)

const (
	prefix = "dunlin-cluster-"
	// ownerFile holds the supervisor's pid, and its lock is held for as long as
	// the supervisor lives. A lock can't outlive its holder and needs no clock.
	ownerFile = "owner"
	// processFile has a line "name signal pid start" for every process started.
	processFile = "processes"
)

// Folder is a run's own folder.
type Folder struct {
	Path string
	lock *os.File
	mu   sync.Mutex
}

// Create makes the folder of a new run: at the path, or under the temp folder
// when the path is empty. What an ended run left there is removed before.
func Create(path string) (*Folder, error) {
	for _, message := range sweep(os.TempDir()) {
		fmt.Fprintln(os.Stderr, "cluster:", message)
	}
	if path == "" {
		return createTemporary()
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	isOurs := slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == ownerFile })
	if len(entries) > 0 && !isOurs {
		return nil, fmt.Errorf("--dir %s: the folder isn't empty, and isn't one that an earlier run left; name another", path)
	}
	lock, err := claim(path)
	if err != nil {
		return nil, err
	}
	endProcesses(path)
	for _, entry := range entries {
		if entry.Name() == ownerFile {
			continue
		}
		if err := os.RemoveAll(filepath.Join(path, entry.Name())); err != nil {
			return nil, err
		}
	}
	return &Folder{Path: path, lock: lock}, nil
}

// createTemporary locks the folder before it gets the name by which others look
// for folders to remove.
func createTemporary() (*Folder, error) {
	fresh, err := os.MkdirTemp("", ".new-"+prefix)
	if err != nil {
		return nil, err
	}
	// PostgreSQL may run as another user and must get through to its own part.
	if err := os.Chmod(fresh, 0o755); err != nil {
		return nil, err
	}
	lock, err := claim(fresh)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(filepath.Dir(fresh), strings.TrimPrefix(filepath.Base(fresh), ".new-"))
	if err := os.Rename(fresh, path); err != nil {
		return nil, err
	}
	return &Folder{Path: path, lock: lock}, nil
}

// claim locks the folder and writes down by whom.
func claim(path string) (*os.File, error) {
	file := filepath.Join(path, ownerFile)
	lock, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		owner, _ := os.ReadFile(file)
		lock.Close()
		return nil, fmt.Errorf("%s is in use by process %s; end that one, or name another folder by --dir", path, strings.TrimSpace(string(owner)))
	}
	if !isStillAt(lock, file) {
		lock.Close()
		return nil, fmt.Errorf("%s was being removed by the run before; try again", path)
	}
	if err := lock.Truncate(0); err != nil {
		return nil, err
	}
	_, err = lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return lock, err
}

// isStillAt tells whether an open file is the one that the path leads to: it may
// have been removed between opening and locking.
func isStillAt(file *os.File, path string) bool {
	opened, err := file.Stat()
	named, missing := os.Stat(path)
	return err == nil && missing == nil && os.SameFile(opened, named)
}

// Register writes a process down, for whoever has to end it in our place.
func (f *Folder) Register(child *process.Child, orphaned syscall.Signal) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	file, err := os.OpenFile(f.Join(processFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(file, "%s %d %s\n", child.Name, orphaned, child.Identity)
	return errors.Join(err, file.Close())
}

// Join returns a path in the folder.
func (f *Folder) Join(names ...string) string {
	return filepath.Join(append([]string{f.Path}, names...)...)
}

// Remove ends what still runs and removes the folder, in the supervisor itself.
func (f *Folder) Remove() error {
	return errors.Join(Discard(f.Path), f.lock.Close())
}

// Discard ends what a folder's list names and removes the folder.
func Discard(path string) error {
	endProcesses(path)
	// A dying process may still be writing while its folder is being removed.
	var err error
	process.Until(10*time.Second, func() bool {
		err = os.RemoveAll(path)
		return err == nil
	})
	return err
}

// DiscardAbandoned waits until the run that owns the folder is over, and cleans
// up after it if it hasn't done so itself.
func DiscardAbandoned(path string) error {
	lock, err := os.Open(filepath.Join(path, ownerFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	if !isStillAt(lock, filepath.Join(path, ownerFile)) {
		return nil
	}
	return Discard(path)
}

// sweep removes the folders of runs that were killed together with their tether,
// or by a reboot, and says so.
func sweep(parent string) []string {
	var messages []string
	candidates, _ := filepath.Glob(filepath.Join(parent, prefix+"*"))
	for _, path := range candidates {
		// In a folder that everybody writes to, a stranger's list of processes
		// must not be believed.
		info, err := os.Lstat(path)
		if err != nil || !info.IsDir() || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Getuid()) {
			continue
		}
		lock, err := os.Open(filepath.Join(path, ownerFile))
		if err != nil {
			continue
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			if err := Discard(path); err != nil {
				messages = append(messages, fmt.Sprintf("%s was left by a run that was killed, and can't be removed: %v", path, err))
			} else {
				messages = append(messages, "removed "+path+", left by a run that was killed")
			}
		}
		lock.Close()
	}
	return messages
}

// endProcesses ends every process on the folder's list that still is the one
// written down, last started first.
func endProcesses(path string) {
	text, err := os.ReadFile(filepath.Join(path, processFile))
	if err != nil {
		return
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	slices.Reverse(lines)
	for _, line := range lines {
		fields := strings.SplitN(line, " ", 3)
		if len(fields) < 3 {
			continue
		}
		signal, err := strconv.Atoi(fields[1])
		identity, bad := process.ParseIdentity(fields[2])
		if err != nil || bad != nil {
			continue
		}
		identity.End(syscall.Signal(signal), 5*time.Second)
	}
	for _, orphan := range process.WorkingIn(filepath.Join(path, "postgres", "data")) {
		orphan.End(syscall.SIGKILL, 5*time.Second)
	}
}
