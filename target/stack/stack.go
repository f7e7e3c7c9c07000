package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/transcode"
)

// Options say which platform is wanted.
type Options struct {
	Profile  string
	Defences target.Defences
	Secrets  target.Secrets
	Encoder  string            // of ffmpeg; empty chooses
	OpenKeys bool              // accept streams without a key
	Outside  map[string]string // HOST:PORT outside the range at which a component's media can be reached
	LogDir   string            // one file per process
	Traces   string            // directory of traces; empty: none
	Canary   *Canary           // nil: none
	Drives   []string          // components whose disk can be told to be slow or fail
	Replica  bool              // whether MariaDB has one
	Notify   func(kind string, details map[string]any)
}

// healthLimit is how long a component may take to become healthy. MariaDB first makes its data.
const healthLimit = 30 * time.Second

// Stack is the bundled platform while it runs.
type Stack struct {
	options   Options
	platform  target.Platform
	mu        sync.Mutex
	processes map[string]*hosts.Process
	files     map[string]string
	hosts     map[string]*hosts.Host
	own       *hosts.Host       // the range itself, for what is no component
	drives    []*hosts.Process  // disks that can be told what to do
	names     map[string]string // of all hosts, with their addresses
	asked     bool              // they are asked for, and stand in no file
	wg        sync.WaitGroup
	turning   sync.Mutex // one defence is turned on at a time
}

// Up starts every component and returns when all are healthy. On error everything that was started is stopped again.
func Up(ctx context.Context, r *hosts.Range, o Options) (_ *Stack, err error) {
	s := &Stack{options: o, platform: target.Platform{Profile: o.Profile, Secrets: o.Secrets.Clients(), Canary: o.share()},
		own: r.Own(), processes: map[string]*hosts.Process{}, files: map[string]string{}, hosts: map[string]*hosts.Host{}, names: map[string]string{}}
	for _, p := range o.layout() {
		if s.hosts[p.name], err = r.AddHost(p.name); err != nil {
			return nil, err
		}
	}
	for _, region := range Regions {
		host, err := r.AddHost(ViewerHost(region))
		if err != nil {
			return nil, err
		}
		s.hosts[host.Name] = host
		s.platform.Viewers = append(s.platform.Viewers, target.Component{Name: host.Name, Kind: target.KindViewers, Region: region, Addr: host.Addr,
			Handles: target.Handles{Network: host.Network()}})
	}
	for _, h := range s.hosts {
		s.names[h.Name] = h.Addr
	}
	if s.asked, err = r.AskForNames(s.hosts["dns"], s.names); err != nil {
		return nil, err
	}
	if s.options.Encoder, err = transcode.ChooseEncoder(ctx, o.Encoder); err != nil {
		return nil, err
	}
	encoders, err := r.Group("transcode-encoders")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Down()
		}
	}()
	for _, p := range o.layout() {
		if err := s.start(ctx, p, encoders); err != nil {
			return nil, err
		}
		if p.kind == "dns" { // nginx gives up at once when a name is unknown
			if err := s.healthy(ctx); err != nil {
				return nil, err
			}
		}
	}
	return s, s.healthy(ctx)
}

// share is the canary's share of the users.
func (o Options) share() float64 {
	if o.Canary == nil {
		return 0
	}
	return o.Canary.Share
}

// start makes a component's configuration and starts its process.
func (s *Stack) start(ctx context.Context, p place, encoders target.Cgroup) error {
	host := s.hosts[p.name]
	kind, _ := FindKind(p.kind)
	c, _ := s.options.Config(p.name)
	c.Listen, c.Traces = host.Addr, s.options.Traces
	c.Socket = filepath.Join(hosts.Base, "sock", p.name)
	c.Dir = filepath.Join(hosts.Base, "data", p.name)
	component := target.Component{Name: p.name, Kind: p.kind, Region: p.region, Addr: host.Addr, Ports: kind.Ports,
		Socket: c.Socket, Handles: target.Handles{Network: host.Network()}}
	s.hold(p, host, &c, &component, encoders)
	if err := s.store(ctx, p, c, &component); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	file := filepath.Join(hosts.Base, "conf", p.name+".json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	s.files[p.name] = file
	s.platform.Components = append(s.platform.Components, component)
	return s.launch(p)
}

func (s *Stack) launch(p place) error {
	program := "/proc/self/exe"
	if p.name == CanaryName && s.options.Canary.Program != "" {
		program = s.options.Canary.Program
	}
	process, err := s.hosts[p.name].Start(hosts.Command{Name: p.name, Path: program,
		Args: []string{"serve", p.kind, "--config", s.files[p.name]}, Log: filepath.Join(s.options.LogDir, p.name+".log")})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.processes[p.name] = process
	return nil
}

func (s *Stack) process(name string) *hosts.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.processes[name]
}

// healthy waits until every component says that it is.
func (s *Stack) healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	errs := make([]error, len(s.platform.Components))
	var wg sync.WaitGroup
	for i, c := range s.platform.Components {
		wg.Go(func() {
			if errs[i] = s.wait(ctx, c); errs[i] != nil {
				errs[i] = fmt.Errorf("%s did not become healthy: %w%s", c.Name, errs[i], lastLines(s.logOf(c.Name)))
				cancel()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (s *Stack) wait(ctx context.Context, c target.Component) error {
	for {
		err := c.Healthy(ctx)
		if err == nil {
			return nil
		}
		if failed := s.process(c.Name).Failed(); failed != nil {
			return failed
		}
		if !target.Wait(ctx, 25*time.Millisecond) {
			return err
		}
	}
}

// Keep starts components again that end by themselves, until ctx ends.
func (s *Stack) Keep(ctx context.Context) {
	for _, p := range s.options.layout() {
		s.wg.Go(func() {
			for {
				process := s.process(p.name)
				select {
				case <-ctx.Done():
					return
				case <-process.Done():
				}
				if err := process.Failed(); err != nil {
					s.options.Notify("component.ended", map[string]any{"component": p.name, "error": err.Error()})
				}
				if !target.Wait(ctx, 200*time.Millisecond) {
					return
				}
				if err := s.launch(p); err != nil {
					s.options.Notify("component.lost", map[string]any{"component": p.name, "error": err.Error()})
					return
				}
			}
		})
	}
	s.wg.Wait()
}

// Platform is what loads and faults see.
func (s *Stack) Platform() target.Platform { return s.platform }

// Host finds a host of the platform's range.
func (s *Stack) Host(name string) (*hosts.Host, bool) {
	h, ok := s.hosts[name]
	return h, ok
}

// Hosts lists every host of the platform's range, in the order of their names.
func (s *Stack) Hosts() []*hosts.Host {
	var out []*hosts.Host
	for _, name := range slices.Sorted(maps.Keys(s.hosts)) {
		out = append(out, s.hosts[name])
	}
	return out
}

// Down stops every component.
func (s *Stack) Down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var wg sync.WaitGroup
	for _, p := range s.processes {
		wg.Go(func() { p.Stop(3 * time.Second) })
	}
	wg.Wait()
	for _, p := range s.drives { // somebody may still have waited for one
		p.Stop(time.Second)
	}
}

func (s *Stack) logOf(name string) string { return filepath.Join(s.options.LogDir, name+".log") }

// lastLines gives the end of a log, to stand behind an error.
func lastLines(path string) string {
	data, err := os.ReadFile(path)
	if err != nil || len(data) == 0 {
		return ""
	}
	lines := bytes.Split(bytes.TrimRight(data, "\n"), []byte{'\n'})
	lines = lines[max(0, len(lines)-12):]
	return "\n  | " + string(bytes.Join(lines, []byte("\n  | ")))
}
