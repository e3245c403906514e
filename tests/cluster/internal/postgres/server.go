package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"dunlin.dev/cluster/internal/folder"
	"dunlin.dev/cluster/internal/process"
)

const (
	initDeadline  = 2 * time.Minute
	startDeadline = 60 * time.Second
	superuser     = "postgres"
)

// Options are what a test may want of its server.
type Options struct {
	Version int               // the major version, 0 for the newest there is
	Conf    []string          // lines "key=value" of postgresql.conf
	HBA     []string          // lines of pg_hba.conf, which come before ours
	Files   map[string]string // name in the data folder → a file to copy there
}

// Server is a PostgreSQL in its folder, running or not.
type Server struct {
	Binaries Binaries
	Port     int
	Password string
	DataDir  string
	Log      string
	User     *process.User
	folder   *folder.Folder
}

// Account returns the user that PostgreSQL runs as: it refuses root, so root
// runs it as nobody.
func Account() (*process.User, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL refuses to run as root, and there is no user nobody to run it as: %w", err)
	}
	uid, err := strconv.Atoi(nobody.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(nobody.Gid)
	return &process.User{UID: uid, GID: gid}, err
}

// Create makes the data folder of a server, which isn't started yet.
func Create(ctx context.Context, home *folder.Folder, options Options) (*Server, error) {
	account, err := Account()
	if err != nil {
		return nil, err
	}
	binaries, err := Find(ctx, options.Version, account)
	if err != nil {
		return nil, err
	}
	secret := make([]byte, 16)
	if _, err := rand.Read(secret); err != nil {
		return nil, err
	}
	server := &Server{
		Binaries: binaries,
		Password: hex.EncodeToString(secret),
		DataDir:  home.Join("postgres", "data"),
		Log:      home.Join("postgres", "log"),
		User:     account,
		folder:   home,
	}
	if err := os.MkdirAll(server.DataDir, 0o700); err != nil {
		return nil, err
	}
	if err := os.Chmod(filepath.Dir(server.DataDir), 0o755); err != nil {
		return nil, err
	}
	if err := account.Own(server.DataDir); err != nil {
		return nil, err
	}
	if err := reachable(server.DataDir, account); err != nil {
		return nil, err
	}
	if err := server.initialize(ctx); err != nil {
		return nil, err
	}
	return server, server.configure(options)
}

// reachable tells early what PostgreSQL would only call "permission denied".
func reachable(path string, account *process.User) error {
	if account == nil {
		return nil
	}
	for parent := filepath.Dir(path); parent != "/"; parent = filepath.Dir(parent) {
		info, err := os.Stat(parent)
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o001 == 0 {
			return fmt.Errorf("PostgreSQL refuses to run as root and would run as nobody, who can't get through %s to its data; name another folder by --dir or TMPDIR", parent)
		}
	}
	return nil
}

// initialize runs initdb, with the password in a file that is gone afterwards:
// arguments can be read by every process on the machine.
func (s *Server) initialize(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, initDeadline)
	defer cancel()
	passwordFile := filepath.Join(filepath.Dir(s.DataDir), "password")
	if err := os.WriteFile(passwordFile, []byte(s.Password), 0o600); err != nil {
		return err
	}
	defer os.Remove(passwordFile)
	if err := s.User.Own(passwordFile); err != nil {
		return err
	}
	child, err := process.Start(process.Spec{
		Name: "initdb",
		Path: s.Binaries.program("initdb"),
		Args: []string{
			"--pgdata=" + s.DataDir, "--username=" + superuser, "--pwfile=" + passwordFile,
			"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions",
		},
		Env:      environment(),
		Dir:      s.DataDir,
		Log:      s.Log,
		User:     s.User,
		Orphaned: syscall.SIGKILL,
	})
	if err != nil {
		return err
	}
	if err := s.folder.Register(child, syscall.SIGKILL); err != nil {
		return err
	}
	select {
	case <-child.Done():
	case <-ctx.Done():
		child.Stop(syscall.SIGKILL, 0)
		return fmt.Errorf("initdb: %w; the end of its log:\n%s", context.Cause(ctx), process.Tail(s.Log, 20))
	}
	if err := child.Err(); err != nil {
		return fmt.Errorf("%s: %w; the end of its log:\n%s", s.Binaries.program("initdb"), err, process.Tail(s.Log, 20))
	}
	return nil
}

// environment is all that PostgreSQL's programs see of ours: no PGDATA, no
// locale, in which messages would differ from machine to machine.
func environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
}

// configure writes the settings, ours first: of a key that stands twice, the
// last counts.
func (s *Server) configure(options Options) error {
	lines := []string{
		"listen_addresses = '127.0.0.1'",
		// Nothing here needs a Unix socket, and their paths may not be long.
		"unix_socket_directories = ''",
		"max_connections = 200",
		// A crash of the machine may cost these data; a crash of PostgreSQL, which
		// tests cause, doesn't touch what the kernel has taken.
		"fsync = off", "synchronous_commit = off", "full_page_writes = off",
		"shared_buffers = 64MB",
		"log_line_prefix = '%m [%p] %q%u@%d/%a '",
	}
	for _, setting := range options.Conf {
		key, value, ok := strings.Cut(setting, "=")
		if !ok {
			return fmt.Errorf("--conf %q: want key=value", setting)
		}
		value = strings.Trim(strings.TrimSpace(value), "'")
		lines = append(lines, fmt.Sprintf("%s = '%s'", strings.TrimSpace(key), strings.ReplaceAll(value, "'", "''")))
	}
	hba := append(append([]string{}, options.HBA...),
		"host all all 127.0.0.1/32 scram-sha-256",
		"host replication all 127.0.0.1/32 scram-sha-256")

	if err := s.write("postgresql.auto.conf", strings.NewReader(strings.Join(lines, "\n")+"\n")); err != nil {
		return err
	}
	if err := s.write("pg_hba.conf", strings.NewReader(strings.Join(hba, "\n")+"\n")); err != nil {
		return err
	}
	for name, path := range options.Files {
		if name != filepath.Base(name) {
			return fmt.Errorf("--file %s=%s: the name must be that of a file in the data folder", name, path)
		}
		source, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("--file %s: %w", name, err)
		}
		err = s.write(name, source)
		source.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// write puts a file into the data folder that only PostgreSQL can read, as it
// demands of private keys.
func (s *Server) write(name string, content io.Reader) error {
	path := filepath.Join(s.DataDir, name)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close(), s.User.Own(path))
}

// URL returns the superuser's connection URL.
func (s *Server) URL() string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/postgres", superuser, s.Password, s.Port)
}

// ClientDir returns the folder with psql, which downloaded servers lack.
func (s *Server) ClientDir() (string, error) {
	if _, err := os.Stat(s.Binaries.program("psql")); err == nil {
		return s.Binaries.Dir, nil
	}
	path, err := exec.LookPath("psql")
	return filepath.Dir(path), err
}

// errEarly marks a start that failed because the process ended.
var errEarly = errors.New("ended before it was ready")

// Start starts the server and returns when it takes connections. The first start
// picks a port, and another one if somebody was faster; later ones keep it.
func (s *Server) Start(ctx context.Context) (*process.Child, error) {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	isFirst := s.Port == 0
	for {
		if isFirst {
			var err error
			if s.Port, err = process.FreePort(); err != nil {
				return nil, err
			}
		}
		// Only what this attempt says may explain its failure.
		log, err := os.OpenFile(s.Log, os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		before, err := log.Seek(0, io.SeekEnd)
		if err != nil {
			return nil, err
		}
		child, err := s.attempt(ctx)
		if err == nil {
			return child, log.Close()
		}
		said := make([]byte, 64<<10)
		n, _ := log.ReadAt(said, before)
		log.Close()
		text := strings.ToLower(string(said[:n]))
		canRetry := isFirst && strings.Contains(text, "address already in use") ||
			// The backends of a killed postmaster take a moment to notice.
			strings.Contains(text, "is still in use") || strings.Contains(text, "is another postmaster")
		if !errors.Is(err, errEarly) || !canRetry || ctx.Err() != nil {
			return nil, fmt.Errorf("PostgreSQL %d: %w; the end of its log (%s):\n%s", s.Binaries.Major, err, s.Log, process.Tail(s.Log, 20))
		}
	}
}

// attempt starts the postmaster and waits until its pid file says "ready", which
// holds whatever pg_hba.conf lets us do.
func (s *Server) attempt(ctx context.Context) (*process.Child, error) {
	pidFile := filepath.Join(s.DataDir, "postmaster.pid")
	child, err := process.Start(process.Spec{
		Name:     "postgres",
		Path:     s.Binaries.program("postgres"),
		Args:     []string{"-D", s.DataDir, "-p", strconv.Itoa(s.Port)},
		Env:      environment(),
		Dir:      s.DataDir,
		Log:      s.Log,
		User:     s.User,
		Orphaned: syscall.SIGQUIT,
	})
	if err != nil {
		return nil, err
	}
	if err := s.folder.Register(child, syscall.SIGQUIT); err != nil {
		return nil, err
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-child.Done():
			return nil, fmt.Errorf("%w (%v)", errEarly, child.Err())
		case <-ctx.Done():
			child.Stop(syscall.SIGQUIT, 5*time.Second)
			return nil, fmt.Errorf("not ready: %w", context.Cause(ctx))
		case <-tick.C:
			if isReady(pidFile, child.Pid) {
				return child, nil
			}
		}
	}
}

// isReady reads the pid file as pg_ctl does: the pid in line 1, the state in
// line 8 (src/include/utils/pidfile.h).
func isReady(pidFile string, pid int) bool {
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return false
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 8 || strings.TrimSpace(lines[0]) != strconv.Itoa(pid) {
		return false
	}
	state := strings.TrimSpace(lines[7])
	return state == "ready" || state == "standby"
}

// Stop ends the server in one of pg_ctl's modes, or by "kill" of the postmaster.
func Stop(child *process.Child, mode string) error {
	signals := map[string]syscall.Signal{
		"smart": syscall.SIGTERM, "fast": syscall.SIGINT, "immediate": syscall.SIGQUIT, "kill": syscall.SIGKILL,
	}
	signal, ok := signals[mode]
	if !ok {
		return fmt.Errorf("no such mode %q; there are smart, fast, immediate and kill", mode)
	}
	child.Stop(signal, 30*time.Second)
	return nil
}
