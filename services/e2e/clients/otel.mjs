// Sends one counter and one log record through the OpenTelemetry SDK for JavaScript.
// Configuration is the SDK's own: OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS.
import { SeverityNumber } from "@opentelemetry/api-logs";
import { OTLPLogExporter } from "@opentelemetry/exporter-logs-otlp-http";
import { OTLPMetricExporter as JSONExporter } from "@opentelemetry/exporter-metrics-otlp-http";
import { OTLPMetricExporter as ProtoExporter } from "@opentelemetry/exporter-metrics-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchLogRecordProcessor, LoggerProvider } from "@opentelemetry/sdk-logs";
import { MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";

const resource = resourceFromAttributes({ "service.name": "shop-js", "service.version": "1.2.3" });

for (const [name, Exporter] of [["json", JSONExporter], ["proto", ProtoExporter]]) {
  const reader = new PeriodicExportingMetricReader({ exporter: new Exporter({ compression: "gzip" }), exportIntervalMillis: 60_000 });
  const provider = new MeterProvider({ resource, readers: [reader] });
  const meter = provider.getMeter("shop");
  meter.createCounter(`js.orders.${name}`, { unit: "{order}", description: "Orders taken" }).add(3, { currency: "EUR" });
  meter.createHistogram(`js.checkout.${name}`, { unit: "s" }).record(0.25, { route: "/checkout" });
  await provider.forceFlush();
  await provider.shutdown();
}

const logs = new LoggerProvider({ resource, processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter() })] });
logs.getLogger("shop").emit({
  severityNumber: SeverityNumber.WARN,
  severityText: "WARN",
  body: "stock of anchors is low",
  attributes: { "item.id": 42, warehouse: "north" },
});
await logs.forceFlush();
await logs.shutdown();
