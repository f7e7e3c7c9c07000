package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	faultkinds "github.com/livedrill/livedrill/injectors/kinds"
	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/reports/alerts"
	"github.com/livedrill/livedrill/target"
)

// mostRemarks and longestRemark bound what a run takes down of its responders.
const (
	mostRemarks   = 1000
	longestRemark = 500
)

// responders answers the people who work on the drill, until ctx ends.
func (d *drill) responders(ctx context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /remark", func(w http.ResponseWriter, r *http.Request) {
		var m reports.Remark
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<14))
		if err != nil {
			err = errTooLong
		} else if err = json.Unmarshal(text, &m); err == nil {
			err = d.check(m)
		}
		m.Done, m.Score = nil, nil
		failed := http.StatusBadRequest
		switch {
		case err != nil:
		case m.What == reports.SaidDefend:
			failed, err = http.StatusInternalServerError, d.defend(ctx, &m)
		default:
			m.At = *d.seconds(time.Now())
			_, err = d.take(m)
		}
		if err != nil {
			http.Error(w, err.Error(), failed)
			return
		}
		_ = json.NewEncoder(w).Encode(m) // the client has gone: nothing to do
	})
	return mux
}

var errTooLong = fmt.Errorf("a remark has at most %d characters", longestRemark)

// check finds remarks that make no sense.
func (d *drill) check(m reports.Remark) error {
	if m.By == reports.Runbook {
		return fmt.Errorf("%s is no person", m.By)
	}
	if strings.TrimSpace(reports.Visible(m.By)) == "" {
		return errors.New("a remark needs somebody who makes it")
	}
	if utf8.RuneCountInString(m.By+m.Fault+m.On+m.Alert+m.Defence+m.Text) > longestRemark {
		return errTooLong
	}
	names, on := m.Fault != "", m.On != ""
	switch m.What {
	case reports.SaidAcknowledge:
		if known := alerts.Names(d.story.Alerts.Files); m.Alert != "" && !slices.Contains(known, m.Alert) {
			return fmt.Errorf("no rule of this drill gives an alert %q%s", m.Alert, reports.Nearest(m.Alert, known))
		}
	case reports.SaidDefend:
		if _, err := target.ProfileDefences(target.Profiles[0], map[string]bool{m.Defence: true}); err != nil {
			return err
		}
		if !d.begun() {
			return errors.New("the load has not begun yet, and would not survive it")
		}
	case reports.SaidAction:
		if strings.TrimSpace(reports.Visible(m.Text)) == "" {
			return errors.New("an action needs a text that says what was done")
		}
	case reports.SaidCause:
		if _, ok := faultkinds.Find(m.Fault); !ok {
			return fmt.Errorf("no fault %q: livedrill list faults shows all", m.Fault)
		}
		if _, err := d.stack.Platform().Find(m.On); err != nil {
			return err
		}
		names, on = false, false
	default:
		return fmt.Errorf("no remark is a %q", m.What)
	}
	if names || on || (m.Defence != "") != (m.What == reports.SaidDefend) || m.Alert != "" && m.What != reports.SaidAcknowledge || m.Program != "" {
		return fmt.Errorf("a remark of kind %s names no such thing", m.What)
	}
	return nil
}

// take takes a remark down, for the report, in the events and in the audit log, and returns its place among the others. The runbook always
// has one, up to the end.
func (d *drill) take(m reports.Remark) (place int, err error) {
	d.know(func(f *reports.Facts) {
		switch {
		case f.Finished:
			err = errors.New("the drill is over")
		case len(f.Remarks) >= mostRemarks && m.By != reports.Runbook:
			err = fmt.Errorf("this drill has taken down %d remarks, and takes no more", mostRemarks)
		default:
			place = len(f.Remarks)
			f.Remarks = append(f.Remarks, m)
		}
	})
	if err != nil {
		return 0, err
	}
	d.say("responder", m)
	return place, nil
}

// say makes a remark an event, and part of the audit log.
func (d *drill) say(event string, m reports.Remark) {
	details := map[string]any{"what": m.What, "by": m.By}
	for key, v := range map[string]string{"names": m.Fault, "on": m.On, "alert": m.Alert, "program": m.Program, "defence": m.Defence, "text": m.Text} {
		if v != "" {
			details[key] = v
		}
	}
	d.events.Add(event, details)
	d.audit.Add(d.Actor, event, details)
	d.checkpoint()
}
