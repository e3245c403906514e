package folder

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"dunlin.dev/cluster/internal/process"
)

// leftover makes a folder as a killed run leaves it, with this list of processes.
func leftover(t *testing.T, parent, list string) string {
	t.Helper()
	path := filepath.Join(parent, prefix+"123")
	for name, content := range map[string]string{ownerFile: "4194305\n", processFile: list} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func bystander(t *testing.T) (process.Identity, *exec.Cmd) {
	t.Helper()
	command := exec.Command("sleep", "600")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill() })
	identity, err := process.Identify(command.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return identity, command
}

func TestALeftoverIsRemovedWithItsProcesses(t *testing.T) {
	parent := t.TempDir()
	identity, command := bystander(t)
	go func() { _ = command.Wait() }()
	path := leftover(t, parent, fmt.Sprintf("postgres 9 %s\n", identity))
	if messages := sweep(parent); len(messages) != 1 {
		t.Errorf("it says %q", messages)
	}
	if identity.Alive() {
		t.Error("the process still runs")
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestAReusedPidIsNotKilled(t *testing.T) {
	parent := t.TempDir()
	identity, _ := bystander(t)
	stale := process.Identity{Pid: identity.Pid, Started: "1"}
	leftover(t, parent, fmt.Sprintf("postgres 9 %s\nrubbish\netcd 9 1 1\n", stale))
	sweep(parent)
	if !identity.Alive() {
		t.Error("a bystander was killed")
	}
}

func TestARunningOnesFolderIsKept(t *testing.T) {
	parent := t.TempDir()
	path := leftover(t, parent, "")
	lock, err := claim(path)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if messages := sweep(parent); len(messages) != 0 {
		t.Errorf("it says %q", messages)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
