package supervisor

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"dunlin.dev/cluster/internal/process"
)

// limit is for what takes a second on an idle machine.
const limit = 30 * time.Second

// program is the built binary, since what is promised here is promised by it.
func program(t *testing.T) string {
	t.Helper()
	path := os.Getenv("DUNLIN_CLUSTER")
	if path == "" {
		path = filepath.Join("..", "..", "..", "..", "target", "cluster", "bin", "cluster")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; build it with `make cluster`", err)
	}
	return path
}

// tempDir returns a folder that PostgreSQL, run as nobody, can get through to.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cluster-test-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// started is a supervisor under test.
type started struct {
	Description
	command *exec.Cmd
	stdin   io.Closer
	stderr  *bytes.Buffer
	running []process.Identity
}

// start starts one, in its own group as a terminal's foreground job is, with its
// temp folder in a folder of the test's.
func start(t *testing.T, temp string, arguments ...string) *started {
	t.Helper()
	s := &started{command: exec.Command(program(t), arguments...), stderr: &bytes.Buffer{}}
	s.command.Env = append(os.Environ(), "TMPDIR="+temp)
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.command.Stderr = s.stderr
	stdin, err := s.command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.stdin = stdin
	stdout, err := s.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.command.Process.Signal(syscall.SIGTERM)
		_ = s.command.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		_ = s.command.Wait()
		t.Fatalf("no description: %v; it said: %s", err, s.stderr)
	}
	if err := json.Unmarshal(line, &s.Description); err != nil {
		t.Fatal(err)
	}
	for _, pid := range slices.Sorted(maps.Values(s.Pids)) {
		identity, err := process.Identify(pid)
		if err != nil {
			t.Fatalf("of %v, one doesn't run: %v", s.Pids, err)
		}
		s.running = append(s.running, identity)
	}
	return s
}

// ended waits until none of its processes runs.
func (s *started) ended(t *testing.T) {
	t.Helper()
	// A dead child of ours stays in the process table until it is waited for.
	go func() { _ = s.command.Wait() }()
	if !process.Until(limit, func() bool {
		return !slices.ContainsFunc(s.running, process.Identity.Alive)
	}) {
		t.Errorf("something of %v still runs", s.Pids)
	}
}

// isGone waits until the folder is gone.
func (s *started) isGone(t *testing.T) {
	t.Helper()
	if !process.Until(limit, func() bool {
		_, err := os.Stat(s.Dir)
		return os.IsNotExist(err)
	}) {
		t.Errorf("%s is still there", s.Dir)
	}
}

func ask(url, query string) (string, error) {
	database, err := sql.Open("postgres", url+"?sslmode=disable")
	if err != nil {
		return "", err
	}
	defer database.Close()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var answer string
	return answer, database.QueryRowContext(ctx, query).Scan(&answer)
}

func mustAnswer(t *testing.T, s *started) {
	t.Helper()
	if answer, err := ask(s.Postgres.URL, "SELECT 'here'"); err != nil || answer != "here" {
		t.Fatalf("PostgreSQL at port %d: %q, %v", s.Postgres.Port, answer, err)
	}
}

func TestNothingIsLeftAfterTheSupervisorIsKilled(t *testing.T) {
	s := start(t, tempDir(t), "up")
	mustAnswer(t, s)
	nodes := exec.Command(filepath.Join(s.Bin, "kubectl"), "get", "namespace", "default", "-o", "name")
	nodes.Env = append(os.Environ(), "KUBECONFIG="+s.Kubeconfig)
	if output, err := nodes.CombinedOutput(); err != nil || strings.TrimSpace(string(output)) != "namespace/default" {
		t.Fatalf("kubectl: %s, %v", output, err)
	}
	if err := syscall.Kill(s.Pids["supervisor"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.ended(t)
	s.isGone(t)
}

func TestNothingIsLeftAfterCtrlC(t *testing.T) {
	s := start(t, tempDir(t), "up")
	// A terminal sends it to the whole group.
	if err := syscall.Kill(-s.Pids["supervisor"], syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := s.command.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if s.stderr.Len() > 0 {
		t.Errorf("it said: %s", s.stderr)
	}
	s.ended(t)
	s.isGone(t)
}

func TestItEndsWithItsStandardInput(t *testing.T) {
	s := start(t, tempDir(t), "postgres", "--until-stdin-closes")
	if err := s.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	s.ended(t)
	s.isGone(t)
}

func TestTheNextStartRemovesWhatAKilledTetherLeft(t *testing.T) {
	temp := tempDir(t)
	s := start(t, temp, "postgres")
	// The tether first, or it would do its work.
	for _, name := range []string{"tether", "supervisor"} {
		if err := syscall.Kill(s.Pids[name], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.command.Wait(); err == nil {
		t.Fatal("a killed supervisor ended well")
	}
	if _, err := os.Stat(s.Dir); err != nil {
		t.Fatalf("somebody removed the folder: %v", err)
	}
	if runtime.GOOS == "linux" {
		s.ended(t)
	}
	next := start(t, temp, "postgres")
	s.ended(t)
	s.isGone(t)
	if !strings.Contains(next.stderr.String(), "removed "+s.Dir) {
		t.Errorf("it doesn't say so: %q", next.stderr)
	}
	mustAnswer(t, next)
}

func TestTwoAtOnceDontDisturbEachOther(t *testing.T) {
	temp := tempDir(t)
	one, other := start(t, temp, "postgres"), start(t, temp, "postgres")
	if one.Dir == other.Dir || one.Postgres.Port == other.Postgres.Port || one.Postgres.Password == other.Postgres.Password {
		t.Fatalf("they share something: %+v and %+v", one.Postgres, other.Postgres)
	}
	mustAnswer(t, one)
	if err := one.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	one.ended(t)
	one.isGone(t)
	mustAnswer(t, other)
}

func TestAFolderInUseIsRefused(t *testing.T) {
	dir := filepath.Join(tempDir(t), "named")
	s := start(t, tempDir(t), "postgres", "--dir", dir)
	if s.Dir != dir {
		t.Errorf("it is in %s", s.Dir)
	}
	output, err := exec.Command(program(t), "postgres", "--dir", dir).CombinedOutput()
	if err == nil || !strings.Contains(string(output), "in use by process "+strconv.Itoa(s.Pids["supervisor"])) {
		t.Errorf("a second one: %v, %s", err, output)
	}
	mustAnswer(t, s)
}

func TestAStrangersFolderIsRefusedAndKept(t *testing.T) {
	dir := tempDir(t)
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	output, err := exec.Command(program(t), "postgres", "--dir", dir).CombinedOutput()
	if err == nil || !strings.Contains(string(output), "isn't empty") {
		t.Errorf("it ended with %v and said %s", err, output)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

func TestAFailedStartLeavesNothingAndSaysWhy(t *testing.T) {
	temp := tempDir(t)
	command := exec.Command(program(t), "postgres", "--conf", "no_such_setting=1")
	command.Env = append(os.Environ(), "TMPDIR="+temp)
	output, err := command.CombinedOutput()
	if err == nil || !strings.Contains(string(output), "no_such_setting") {
		t.Errorf("it ended with %v and said %s", err, output)
	}
	if left, _ := os.ReadDir(temp); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}

func TestAKilledPostgresStartsAgainOnItsPort(t *testing.T) {
	s := start(t, tempDir(t), "postgres")
	// A backend at work outlives its postmaster for a while.
	go func() { _, _ = ask(s.Postgres.URL, "SELECT pg_sleep(60)::text") }()
	for _, mode := range []string{"kill", "immediate", "fast"} {
		output, err := exec.Command(program(t), "ctl", "--dir", s.Dir, "--mode", mode, "restart", "postgres").CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", mode, err, output)
		}
		mustAnswer(t, s)
	}
	if s.stderr.Len() > 0 {
		t.Errorf("it said: %s", s.stderr)
	}
}

func TestThePasswordIsNoArgument(t *testing.T) {
	lists, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	if len(lists) == 0 {
		t.Skip("no /proc here")
	}
	s := start(t, tempDir(t), "postgres")
	lists, _ = filepath.Glob("/proc/[0-9]*/cmdline")
	for _, list := range lists {
		if text, _ := os.ReadFile(list); bytes.Contains(text, []byte(s.Postgres.Password)) {
			t.Errorf("%s: %q", list, text)
		}
	}
	_ = filepath.WalkDir(s.Dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return nil
		}
		text, _ := os.ReadFile(path)
		info, err := entry.Info()
		if err == nil && bytes.Contains(text, []byte(s.Postgres.Password)) && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s holds it, and anybody can read that", path)
		}
		return nil
	})
}

func TestAGuestEndsWithTheCluster(t *testing.T) {
	s := start(t, tempDir(t), "postgres")
	command := exec.Command(program(t), "ctl", "--dir", s.Dir, "run", "guest", "sh", "-c", "echo $GREETING; exec sleep 600")
	command.Env = append(os.Environ(), "GREETING=hello")
	output, err := command.Output()
	var answer answer
	if err != nil || json.Unmarshal(output, &answer) != nil {
		t.Fatalf("%v: %s", err, output)
	}
	guest, err := process.Identify(answer.Pid)
	if err != nil {
		t.Fatal(err)
	}
	s.running = append(s.running, guest)
	if !process.Until(limit, func() bool {
		log, _ := os.ReadFile(filepath.Join(s.Dir, "guest.log"))
		return string(log) == "hello\n"
	}) {
		t.Error("its log isn't there")
	}
	if err := syscall.Kill(s.Pids["supervisor"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.ended(t)
	s.isGone(t)
}
