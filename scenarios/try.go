package scenarios

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/livedrill/livedrill/injectors"
	faultkinds "github.com/livedrill/livedrill/injectors/kinds"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/disk"
	"github.com/livedrill/livedrill/target/hosts"
)

// Trial is what a machine turned out to be able to do.
type Trial struct {
	Group  hosts.Group       `json:"group"`
	Faults map[string]string `json:"faults"` // by kind, why it does not work; empty: it works
	Err    string            `json:"err"`    // why there can be no range at all
}

// Try makes a small range, tries the faults in it that need nothing but a host, and takes it down again.
func Try(ctx context.Context) (Trial, error) {
	group := hosts.MakeGroup(fmt.Sprintf("livedrill-try-%d", time.Now().UnixNano()))
	var out bytes.Buffer
	session, err := hosts.Enter([]string{"inside"}, Orders{Try: true, Group: group}, &out, io.Discard)
	if err != nil {
		return Trial{Group: group, Err: err.Error()}, hosts.RemoveGroup(group.Cgroup)
	}
	select {
	case <-session.Done():
	case <-time.After(15 * time.Second):
		err = session.Kill()
	case <-ctx.Done():
		err = session.Kill()
	}
	trial := Trial{Group: group}
	if json.Unmarshal(out.Bytes(), &trial) != nil {
		trial.Err = "the range ended before it could say what it can do"
	}
	if removeErr := removeGroup(context.WithoutCancel(ctx), group.Cgroup); removeErr != nil {
		return trial, removeErr
	}
	return trial, err
}

// TryInside is the inner half of Try, in the first process of its range.
func TryInside(ctx context.Context, o Orders) Trial {
	trial := Trial{Group: o.Group, Faults: map[string]string{}}
	r, err := hosts.Setup(o.Group)
	if err != nil {
		trial.Err = err.Error()
		return trial
	}
	host, err := r.AddHost("try")
	if err != nil {
		trial.Err = err.Error()
		return trial
	}
	on := target.Component{Name: "try", Addr: host.Addr, Ports: map[string]int{"http": target.PortHTTP}, Handles: target.Handles{Network: host.Network(), Disk: filepath.Join(hosts.Base, "data", "try")}}
	if host.Cgroup.Version > 0 {
		on.Handles.Cgroup = &host.Cgroup
	}
	if err := hosts.MakeDisk(on.Handles.Disk); err != nil {
		trial.Err = err.Error()
		return trial
	}
	if _, err := host.Start(hosts.Command{Name: "try", Path: "sleep", Args: []string{"60"}, Log: filepath.Join(hosts.Base, "conf", "try.log")}); err != nil { // it ends with this range
		trial.Err = err.Error()
		return trial
	}
	noDrive := tryDrive(ctx, r, &on)
	for _, k := range faultkinds.All {
		if k.On != "" { // it needs a server
			continue
		}
		family, _, _ := strings.Cut(k.Name, ".")
		var err error
		switch family {
		case "network":
			err = tryFault(ctx, k.Default(), on)
		default: // there is nothing to break yet; whether it could be broken can be told
			if err = noDrive; !k.Drive || err == nil {
				err = k.Default().Check(ctx, on)
			}
		}
		if err != nil {
			trial.Faults[k.Name] = err.Error()
		}
	}
	return trial
}

// tryDrive puts a component's disk behind one that can be told what to do.
func tryDrive(ctx context.Context, r *hosts.Range, on *target.Component) error {
	c := target.Config{Name: "disk-" + on.Name, Dir: filepath.Join(hosts.Base, "data", "drive"), Below: on.Handles.Disk, Socket: filepath.Join(hosts.Base, "sock", "disk")}
	if _, err := disk.Start(ctx, r.Own(), c, filepath.Join(hosts.Base, "conf", "disk.log")); err != nil { // it ends with this range
		return err
	}
	on.Handles.Drive = &target.Drive{Dir: c.Dir, Socket: c.Socket}
	return nil
}

func tryFault(ctx context.Context, f injectors.Fault, on target.Component) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := f.Check(ctx, on); err != nil {
		return err
	}
	was, err := f.Save(ctx, on)
	if err != nil {
		return err
	}
	if err := f.Inject(ctx, on); err != nil {
		return err
	}
	return f.Restore(ctx, on, was)
}
