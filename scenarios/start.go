package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/livedrill/livedrill/reports/traces"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/stack"
)

// Packages says which Debian package holds a program.
var Packages = map[string]string{"redis-server": "redis-server", "mariadbd": "mariadb-server",
	"mariadb-install-db": "mariadb-server", "ffmpeg": "ffmpeg", "nginx": "nginx"}

// MissingPrograms names what the bundled platform needs and the machine lacks.
func MissingPrograms() []string {
	var out []string
	for _, k := range stack.Kinds {
		for _, p := range k.Programs {
			if _, err := exec.LookPath(p); err != nil {
				out = append(out, fmt.Sprintf("%s (apt-get install %s)", p, Packages[p]))
			}
		}
	}
	return out
}

// groupName is the name of a run's cgroup.
func groupName(id string) string { return "livedrill-" + strings.ReplaceAll(id, ".", "-") }

// prepared is a load that can make what it needs before the run.
type prepared interface {
	Prepare(ctx context.Context, cache string) error
}

// Launch is a run as its user started it.
type Launch struct {
	Orders
	State     State
	Listeners []*os.File // control socket first
	Stdout    io.Writer
	Stderr    io.Writer
}

// Prepare checks all that can be checked, makes the run directory and everything that must be there before the range. The
// error is the user's to mend; nothing was started.
func Prepare(ctx context.Context, o Orders) (_ *Launch, err error) {
	s, err := o.Resolve()
	if err != nil {
		return nil, err
	}
	for _, l := range s.Load {
		for name, v := range settingFields(reflect.ValueOf(l.Generator).Elem()) {
			if (name == "url" || name == "targets") && v.String() != "" {
				return nil, fmt.Errorf("load.%s.%s: a range has no way to a server outside: livedrill load %s --url does that", l.Name, name, l.Kind)
			}
		}
	}
	if missing := MissingPrograms(); len(missing) > 0 {
		return nil, fmt.Errorf("these programs are missing on this machine:\n  %s", strings.Join(missing, "\n  "))
	}
	if err := o.makeDir(ctx, s); err != nil {
		return nil, err
	}
	state, err := NewState(o.ID, o.Dir)
	if err != nil {
		return nil, err
	}
	if o.Journal, err = state.JournalPath(); err != nil {
		return nil, err
	}
	// The state goes first: whatever is made after it, recover knows of it.
	if err := state.Write(); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	o.Group = hosts.MakeGroup(groupName(o.ID))
	state.Cgroup, state.Profile = o.Group.Cgroup, s.Target.Profile
	if err := state.Write(); err != nil {
		return nil, errors.Join(fmt.Errorf("state: %w", err), hosts.RemoveGroup(o.Group.Cgroup))
	}
	o.Root = os.Geteuid() == 0
	o.Actor = Actor()
	l := &Launch{Orders: o, State: state}
	if err := l.control(); err != nil {
		return nil, errors.Join(err, l.giveUp())
	}
	return l, nil
}

// giveUp takes back what was made for a run that does not begin.
func (l *Launch) giveUp() error {
	for _, f := range l.Listeners {
		_ = f.Close()
	}
	return errors.Join(hosts.RemoveGroup(l.State.Cgroup), l.State.Remove())
}

// control makes the run's control socket.
func (l *Launch) control() error {
	return l.State.Control(func(path string) error {
		control, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
		if err != nil {
			return fmt.Errorf("control socket: %w", err)
		}
		control.SetUnlinkOnClose(false)
		defer control.Close()
		if err := os.Chmod(path, 0o600); err != nil {
			return err
		}
		f, err := control.File()
		if err == nil {
			l.Listeners = append(l.Listeners, f)
		}
		return err
	})
}

// makeDir makes the run directory with the scenario as it will be run, and what the loads need.
func (o *Orders) makeDir(ctx context.Context, s Scenario) (err error) {
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return err
	}
	if inside := filepath.Dir(hosts.Base) + string(filepath.Separator); strings.HasPrefix(o.Dir+string(filepath.Separator), inside) {
		return fmt.Errorf("%s: a run directory cannot be below %s, which a range replaces", o.Dir, inside)
	}
	if entries, err := os.ReadDir(o.Dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty: a run needs a directory of its own", o.Dir)
	}
	for _, part := range []string{"logs", traces.Dir} {
		if err := os.MkdirAll(filepath.Join(o.Dir, part), 0o755); err != nil {
			return fmt.Errorf("run directory: %w", err)
		}
	}
	text, err := s.YAML()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "scenario.yaml"), text, 0o644); err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	for name, rules := range s.Alerts.Files { // beside the scenario, which names them
		path := filepath.Join(o.Dir, alertsDir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = os.WriteFile(path, []byte(rules), 0o644)
		}
		if err != nil {
			return fmt.Errorf("run directory: %w", err)
		}
	}
	for _, l := range s.Load {
		if p, ok := l.Generator.(prepared); ok {
			if err := p.Prepare(ctx, o.Cache); err != nil {
				return fmt.Errorf("load %s: %w", l.Name, err)
			}
		}
	}
	return nil
}

// Go makes the range and waits for its end. Ending ctx asks the range to stop, restore and report; now, once closed, ends
// it at once.
func (l *Launch) Go(ctx context.Context, now <-chan struct{}) (code int, err error) {
	defer func() {
		after := context.WithoutCancel(ctx)
		left := restoreLasting(after, l.State, &Recovered{}) // a range that was ended at once may have left some
		if left == nil {
			left = finish(after, l.State)
		}
		err = errors.Join(err, left)
	}()
	session, err := hosts.Enter([]string{"inside"}, l.Orders, l.Stdout, l.Stderr, l.Listeners...)
	for _, f := range l.Listeners {
		_ = f.Close() // the range has its own
	}
	if err != nil {
		return 2, err
	}
	watching, leave := context.WithCancel(context.WithoutCancel(ctx))
	overdue, interrupted := l.State.overdue(watching), ctx.Done()
	defer func() {
		leave()
		for range overdue { // until it looks no more: the journal goes now
		}
	}()
	for {
		select {
		case <-session.Done():
			return session.ExitCode(), nil
		case <-now:
			return 130, session.Kill()
		case late := <-overdue:
			return 1, errors.Join(late, session.Kill())
		case <-interrupted:
			if err := session.Order("interrupt"); err != nil {
				return 130, errors.Join(err, session.Kill())
			}
			interrupted = nil
		}
	}
}

// finish removes what a run that has ended left on the machine, and its state last.
func finish(ctx context.Context, s State) error {
	if err := removeGroup(ctx, s.Cgroup); err != nil {
		return err
	}
	return s.Remove()
}

// removeGroup waits for the kernel, which frees a dead process's cgroup a moment later.
func removeGroup(ctx context.Context, g target.Cgroup) (err error) {
	for range 50 {
		if err = hosts.RemoveGroup(g); err == nil || !target.Wait(ctx, 20*time.Millisecond) {
			break
		}
	}
	return err
}

// expose makes a listener on a local address for something inside the range.
func expose(host string, port int) (*os.File, string, error) {
	ip := net.ParseIP(host)
	if ip == nil || !ip.IsLoopback() {
		return nil, "", fmt.Errorf("%s is no loopback address: a range is not opened to a network", host)
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: ip, Port: port})
	if err != nil && port != 0 { // the usual port is taken: any other will do
		l, err = net.ListenTCP("tcp", &net.TCPAddr{IP: ip})
	}
	if err != nil {
		return nil, "", err
	}
	defer l.Close()
	f, err := l.File()
	return f, l.Addr().String(), err
}

// Keep makes the launch one of a range that stays: with a name, and the endpoints that open gives it on a loopback address, if there is one.
func (l *Launch) Keep(name, host string, open func(expose func(to string, port int) (string, error)) (map[string]string, error)) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, l.giveUp())
		}
	}()
	l.State.Name = name
	if host != "" {
		l.State.Endpoints, err = open(func(to string, port int) (string, error) {
			f, addr, err := expose(host, port)
			if err != nil {
				return "", err
			}
			l.Listeners = append(l.Listeners, f)
			l.Exposed = append(l.Exposed, Exposed{To: to, At: addr})
			return addr, nil
		})
		if err != nil {
			return err
		}
	}
	return l.State.Write()
}

// Actor names who gave the command: the user, and who became that user.
func Actor() string {
	name := fmt.Sprintf("uid %d", os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if sudo := os.Getenv("SUDO_USER"); sudo != "" {
		name += " by sudo of " + strconv.Quote(sudo)
	}
	return name
}
