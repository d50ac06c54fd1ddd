// Package collector has the functions that the agent calls. The parser is in the package measure.
package collector

import (
	wit "gauged/bindings/collector"
	"gauged/bindings/files"
	"gauged/bindings/log"
	"gauged/bindings/metrics"
	"gauged/bindings/types"
	. "gauged/bindings/wit"
	"gauged/measure"
)

const (
	version = "0.1.0"
	module  = "PLUGIN_MODULE"
)

// Kept from tick to tick, until the plugin fails or is replaced.
var (
	settings Settings
	forkRate measure.Rate
)

var descriptors = []metrics.Descriptor{
	describe("forks_total", metrics.KindCounter, "{process}", "Processes and threads started since boot."),
	describe("forks_per_second", metrics.KindGauge, "{process}/s",
		"Processes and threads started per second since the last tick."),
	describe("processes", metrics.KindGauge, "{process}",
		"Processes that are runnable, or blocked by a disk or another device.",
		metrics.Dimension{Name: "state", Meaning: "State of the processes: running or blocked"}),
}

func describe(name string, kind metrics.Kind, unit, description string, labels ...metrics.Dimension) metrics.Descriptor {
	origin := metrics.OriginUnknown
	if kind == metrics.KindCounter {
		// The kernel's counters are zero at boot.
		origin = metrics.OriginBoot
	}
	return metrics.Descriptor{
		Module:      module,
		Name:        name,
		Kind:        kind,
		CountsFrom:  origin,
		Unit:        unit,
		Description: description,
		Labels:      labels,
	}
}

// Describe describes the plugin.
func Describe() wit.About {
	return wit.About{
		Version:     version,
		Description: "Started, runnable and blocked processes.",
		Settings: []wit.Setting{{
			Key:          "file",
			ValueType:    "text",
			DefaultValue: Some(`"` + defaultFile + `"`),
			Meaning:      "Path of the file to read.",
		}},
		Metrics: descriptors,
	}
}

// Configure takes the settings, as JSON.
func Configure(config string) Result[wit.Configured, wit.Error] {
	read, wrong := readSettings(config)
	if len(wrong) > 0 {
		return Err[wit.Configured](wit.MakeErrorInvalidConfig(wrong))
	}
	settings = read
	log.Log(log.LevelDebug, "reads "+settings.File)
	return Ok[wit.Configured, wit.Error](wit.Configured{Needs: []wit.Need{need()}})
}

// Collect measures, at each tick.
func Collect(tick wit.Tick) Result[[]metrics.Module, wit.Error] {
	content := files.Read(settings.File)
	if content.IsErr() {
		return failed(readError(content.Err()))
	}
	numbers, err := measure.Parse(string(content.Ok()), "processes", "procs_running", "procs_blocked")
	if err != nil {
		return failed(wit.MakeErrorFailed(settings.File + ": " + err.Error()))
	}
	var values []metrics.Metric
	add := func(name string, value metrics.Value, labels ...metrics.Label) {
		values = append(values, metrics.Metric{Name: name, Labels: labels, Value: value})
	}
	if forks, isThere := numbers["processes"]; isThere {
		add("forks_total", metrics.MakeValueNatural(forks))
		if rate, isThere := forkRate.PerSecond(forks, tick.MonotonicNs); isThere {
			add("forks_per_second", metrics.MakeValueNumber(rate))
		}
	}
	for _, state := range []string{"running", "blocked"} {
		if number, isThere := numbers["procs_"+state]; isThere {
			add("processes", metrics.MakeValueNatural(number), metrics.Label{Name: "state", Value: state})
		}
	}
	if len(values) == 0 {
		// A file without these lines will not have them later.
		return failed(wit.MakeErrorUnsupported(settings.File + " has no process counts"))
	}
	return Ok[[]metrics.Module, wit.Error]([]metrics.Module{{Name: module, Metrics: values}})
}

func failed(err wit.Error) Result[[]metrics.Module, wit.Error] {
	return Err[[]metrics.Module](err)
}

// readError makes a failure of the host an error that defines the agent's next step.
func readError(failure files.Error) wit.Error {
	switch failure.Tag() {
	case files.ErrorDenied:
		return wit.MakeErrorDenied(need())
	case files.ErrorNotFound:
		return wit.MakeErrorUnavailable(settings.File + " does not exist")
	case files.ErrorIo:
		return wit.MakeErrorUnavailable(settings.File + " cannot be read: " + failure.Io().Text)
	default:
		return wit.MakeErrorUnavailable(settings.File + " cannot be read")
	}
}

// need is the grant that the plugin needs, with a reason.
func need() wit.Need {
	capability := types.Capability{Kind: "read", Target: settings.File}
	return wit.Need{Capability: capability, Reason: "count processes"}
}
