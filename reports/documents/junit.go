package documents

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/livedrill/livedrill/reports"
)

// JUnit is the form that CI systems read: a suite of cases, each passed, failed or in error.
type JUnit struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Time     string      `xml:"time,attr,omitempty"`
	Stamp    string      `xml:"timestamp,attr,omitempty"`
	Facts    []JUnitFact `xml:"properties>property,omitempty"`
	Cases    []JUnitCase `xml:"testcase"`
}

// JUnitFact is something to know about the whole suite.
type JUnitFact struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

// JUnitCase is one thing that was asked.
type JUnitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Failure *JUnitMessage `xml:"failure,omitempty"`
	Error   *JUnitMessage `xml:"error,omitempty"`
}

// JUnitMessage says why.
type JUnitMessage struct {
	Message string `xml:"message,attr"`
}

// Add counts a case: failed is the platform's fault, broken means that nothing can be said.
func (s *JUnit) Add(class, name string, failed, broken bool, message string) {
	c := JUnitCase{Name: name, Class: class}
	if failed {
		c.Failure = &JUnitMessage{message}
		s.Failures++
	} else if broken {
		c.Error = &JUnitMessage{message}
		s.Errors++
	}
	s.Cases = append(s.Cases, c)
	s.Tests++
}

// Write writes the suite as XML.
func (s *JUnit) Write(w io.Writer) error {
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(s); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// writeJUnit has one case for each objective, fault, alert and check.
func writeJUnit(w io.Writer, d Document) error {
	s := &JUnit{Name: "livedrill." + d.Run.Scenario, Time: fmt.Sprintf("%.3f", d.Run.Duration),
		Stamp: d.Run.Started.UTC().Format("2006-01-02T15:04:05"),
		Facts: []JUnitFact{{"run", d.Run.ID}, {"verdict", d.Verdict.String()}, {"root-cause", d.Run.Cause}, {"time-scale", fmt.Sprint(d.Run.TimeScale)}}}
	for _, o := range d.Objectives {
		s.Add("objective", o.Name, o.Verdict == reports.Missed, o.Verdict != reports.Met && o.Verdict != reports.Missed,
			fmt.Sprintf("%s: %s, limit %s %s. %s", o.Verdict, reports.Quantity(o.Measured, o.Unit), o.Op, reports.Quantity(&o.Threshold, o.Unit), o.Why))
	}
	for _, f := range d.Faults {
		s.Add("fault", f.ID+" "+f.Kind, false, f.State != "restored", f.State+": "+f.Error)
	}
	for _, a := range d.Alerts {
		s.Add("alert", a.Name, a.State == reports.AlertMissed || a.State == reports.AlertFalse, a.State == reports.AlertOpen, a.State+": "+a.Why)
	}
	for _, c := range d.Consistency {
		s.Add("consistency", c.Check, false, !c.OK, c.Detail)
	}
	// The run's own verdict: an interrupted run with every objective met is no success.
	s.Add("run", "verdict", d.Verdict == reports.RunMissed, d.Verdict != reports.Passed && d.Verdict != reports.RunMissed,
		strings.Join(d.Reasons, "; "))
	return s.Write(w)
}
